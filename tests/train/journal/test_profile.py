# SPDX-License-Identifier: Apache-2.0
"""Traces hold the iterations that were asked for, and ranges that a run does not come by are refused."""

import gzip
import json

import jax.numpy as jnp
import pytest

from ntl_jax.train.journal.profile import Profiler, check_profile


def steps_traced(folder) -> set[int]:
    """Numbers of the steps in all traces of a run folder."""
    files = list(folder.glob("profile/plugins/profile/*/*.trace.json.gz"))
    events = [event for file in files for event in json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]]
    return {int(event["args"]["step_num"]) for event in events if "step_num" in event.get("args", {})}


def test_only_the_named_iterations_of_ppo_are_traced(tmp_path):
    with Profiler(tmp_path, (2, 3)) as profiler:
        for stage in ("warm_start", "ppo"):
            for number in range(1, 5):
                with profiler.step(stage, number):
                    (jnp.ones(4) + number).block_until_ready()
    assert steps_traced(tmp_path) == {2, 3}


def test_a_run_that_ends_between_them_leaves_what_it_traced(tmp_path):
    with pytest.raises(RuntimeError), Profiler(tmp_path, (1, 9)) as profiler:  # noqa: SIM117
        with profiler.step("ppo", 1):
            raise RuntimeError
    assert list(tmp_path.glob("profile/plugins/profile/*/*.trace.json.gz"))


def test_without_a_range_nothing_is_written(tmp_path):
    with Profiler(tmp_path, None) as profiler, profiler.step("ppo", 1):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("steps", "stage", "position", "says"),
    [
        (11, "", {}, r"--profile=10:12: the run has 11, trainer.steps: name iterations of PPO up to that"),
        (0, "", {}, r"--profile=10:12: the run has none, trainer.steps=0"),
        (
            40,
            "ppo",
            {"iteration": 10},
            r"--profile=10:12: the run continues after iteration 10: name later ones, .* 40",
        ),
    ],
)
def test_iterations_that_a_run_does_not_come_by_are_refused(steps, stage, position, says):
    with pytest.raises(ValueError, match=says):
        check_profile((10, 12), steps, stage, position)


@pytest.mark.parametrize(
    "taken", [((10, 12), 12, "ppo", {"iteration": 9}), ((1, 1), 12, "warm_start", {}), (None, 0, "", {})]
)
def test_iterations_that_are_left_are_taken(taken):
    assert check_profile(*taken) is None

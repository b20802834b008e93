# SPDX-License-Identifier: Apache-2.0
"""Traces hold the iterations that were asked for."""

import gzip
import json

import jax.numpy as jnp
import pytest

from ntl_jax.train.journal.profile import Profiler


def steps_traced(folder) -> set[int]:
    """Numbers of the steps in all traces of a run folder."""
    files = list(folder.glob("profile/plugins/profile/*/*.trace.json.gz"))
    events = [event for file in files for event in json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]]
    return {int(event["args"]["step_num"]) for event in events if "step_num" in event.get("args", {})}


def test_only_the_named_iterations_of_ppo_are_traced(tmp_path, capsys):
    with Profiler(tmp_path, (2, 3)) as profiler:
        for stage in ("warm_start", "ppo"):
            for number in range(1, 5):
                with profiler.step(stage, number):
                    (jnp.ones(4) + number).block_until_ready()
    assert steps_traced(tmp_path) == {2, 3}
    shown = capsys.readouterr()
    (folder,) = tmp_path.glob("profile/plugins/profile/*")
    assert (shown.out, shown.err) == (f"trace: {folder}\n", "")


def test_a_run_that_ends_between_them_leaves_what_it_traced(tmp_path):
    with pytest.raises(RuntimeError), Profiler(tmp_path, (1, 9)) as profiler:  # noqa: SIM117
        with profiler.step("ppo", 1):
            raise RuntimeError
    assert list(tmp_path.glob("profile/plugins/profile/*/*.trace.json.gz"))


@pytest.mark.parametrize(("stage", "ended"), [("warm_start", "before PPO"), ("ppo", "after iteration 4")])
def test_a_run_that_ends_before_them_says_that_nothing_was_traced(tmp_path, capsys, stage, ended):
    with Profiler(tmp_path, (10, 12)) as profiler, profiler.step(stage, 4):
        pass
    said = f"warning: --profile=10:12: the run ended {ended}: nothing was traced\n"
    assert capsys.readouterr().err == said and list(tmp_path.iterdir()) == []


def test_without_a_range_nothing_is_written(tmp_path):
    with Profiler(tmp_path, None) as profiler, profiler.step("ppo", 1):
        pass
    assert list(tmp_path.iterdir()) == []

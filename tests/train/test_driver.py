# SPDX-License-Identifier: Apache-2.0
"""How a stage is driven: when it is evaluated, saved and ended, and where it goes on. The stage here learns nothing."""

import contextlib
import dataclasses
import errno
import io
import json
import shutil
import signal
from collections.abc import Callable, Mapping

import pytest
from rich.console import Console

from ntl_jax.config import DivergenceSection
from ntl_jax.metrics import read_lines
from ntl_jax.rollout.engine import WorkersLostError
from ntl_jax.train.checkpoints.checkpointer import newest_meta
from ntl_jax.train.driver import Driver
from ntl_jax.train.factory import build_evaluator
from ntl_jax.train.journal.journal import Journal
from ntl_jax.train.journal.profile import Profiler
from ntl_jax.train.stops import MismatchError, NonFiniteError, RewardError, Terminated, Termination
from tests.samples import answering
from tests.train.hand_made_stages import CountingStage, FirstStage, state_at


@pytest.fixture
def said() -> io.StringIO:
    """The console."""
    return io.StringIO()


@pytest.fixture
def drive(setup, tmp_path, said):
    """Drives stages in one run folder; the policy of a version answers that many of the eight held-out problems.

    A signal comes while the policy of the version ``terminated`` is evaluated.
    """

    @contextlib.contextmanager
    def driver(
        *,
        resume=False,
        right: Mapping[int, int] | None = None,
        terminated=None,
        data=None,
        divergence: DivergenceSection = setup.config.divergence,
        **settings,
    ):
        config = dataclasses.replace(
            setup.config,
            trainer=dataclasses.replace(setup.config.trainer, **{"save_every": 100} | settings),
            divergence=divergence,
        )

        def answer(request, _):
            version = engine.published[-1].iteration
            if version == terminated:
                termination.requested = signal.SIGINT
            is_right = request.prompt.index < (right or {}).get(version, version)
            return f"#### {request.prompt.ground_truth}" if is_right else "nothing"

        engine, newest, termination = answering(answer), newest_meta(tmp_path) if resume else None, Termination()
        evaluate = build_evaluator(config, setup.policy, setup.prompts, engine, setup.scorer, setup.digits)
        with Journal(config, tmp_path) as journal:
            yield Driver(
                config,
                tmp_path,
                journal,
                Profiler(tmp_path, None),
                termination,
                Console(file=said, width=1000),
                evaluate=evaluate,
                data={"data.train": "77aa"} if data is None else data,
                newest=newest and newest[0],
            )

    def drive(*stages: CountingStage, **settings) -> CountingStage:
        with driver(**settings) as run:
            for stage in stages:
                run.train(stage)
        return stages[-1]

    return drive


@pytest.fixture
def saved(tmp_path) -> Callable[[], set[int]]:
    """The steps whose checkpoints are kept."""
    return lambda: {int(p.name) for p in (tmp_path / "checkpoints" / "ppo").iterdir() if p.name.isdigit()}


@pytest.fixture
def accuracies(tmp_path) -> Callable[[], dict[int, float | None]]:
    """Held-out accuracy by step, None where there was no evaluation."""
    return lambda: {line["step"]: line.get("val/accuracy") for line in read_lines(tmp_path / "metrics.jsonl")}


def test_a_policy_is_evaluated_before_the_first_step_at_its_intervals_and_at_the_end(drive, accuracies, tmp_path):
    drive(CountingStage(5, 2))
    assert accuracies() == {0: 0.0, 1: None, 2: 2 / 8, 3: None, 4: 4 / 8, 5: 5 / 8}
    names = sorted(path.name for path in (tmp_path / "evaluations").iterdir())
    assert names == [f"ppo-{step:06}.jsonl" for step in (0, 2, 4, 5)]


def test_every_evaluation_that_is_the_best_so_far_is_saved_and_the_last_step(drive, saved):
    drive(CountingStage(5, 1), right={0: 0, 1: 2, 2: 2, 3: 4, 4: 1, 5: 0}, keep_last=100)
    assert saved() == {1, 3, 5}


def test_checkpoints_are_written_at_their_intervals(drive, saved):
    drive(CountingStage(5), save_every=2, keep_last=100)
    assert saved() == {2, 4, 5}


def test_a_stage_ends_when_its_target_is_reached_and_stays_ended(drive, saved, accuracies):
    drive(CountingStage(6, 1), target_accuracy=0.5)
    expected = {0: 0.0, 1: 1 / 8, 2: 2 / 8, 3: 3 / 8, 4: 4 / 8}
    assert accuracies() == expected and 4 in saved()
    stage = drive(CountingStage(6, 1), target_accuracy=0.5, resume=True)
    assert stage.position()["count"] == 4 and accuracies() == expected


def test_a_stage_without_evaluations_has_no_target(drive, accuracies):
    drive(CountingStage(3), target_accuracy=0.01, right={3: 8})
    assert accuracies() == {1: None, 2: None, 3: 1.0}


def test_a_policy_that_is_handed_on_is_not_evaluated_again(drive, tmp_path):
    drive(FirstStage(2), CountingStage(1, 1), right={0: 0, 1: 8, 2: 4})
    lines = read_lines(tmp_path / "metrics.jsonl")
    found = [(line["stage"], line["step"], line.get("val/accuracy")) for line in lines]
    assert found == [("warm_start", 1, None), ("warm_start", 2, 0.5), ("ppo", 0, 0.5), ("ppo", 1, 1.0)]
    names = {path.name for path in (tmp_path / "evaluations").iterdir()}
    assert names == {"warm_start-000002.jsonl", "ppo-000001.jsonl"}


def test_a_resumed_stage_goes_on_from_its_newest_checkpoint_and_writes_again_what_came_after(drive, saved, tmp_path):
    drive(CountingStage(4), save_every=2, keep_last=100)
    shutil.rmtree(tmp_path / "checkpoints" / "ppo" / "4")
    stage = drive(CountingStage(5, metrics={2: {"critic/score/max": 1.0}, 3: {"critic/score/max": 1.0}}), resume=True)
    assert int(stage.state.step) == stage.position()["count"] == 5 and saved() >= {2, 5}
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [(line["step"], line.get("critic/score/max")) for line in lines] == [
        (1, None),
        (2, None),
        (3, 1.0),
        (4, None),
        (5, None),
    ]


def test_without_a_checkpoint_a_resumed_stage_begins_again(drive, tmp_path):
    drive(CountingStage(2), save_every=100)
    shutil.rmtree(tmp_path / "checkpoints")
    drive(CountingStage(1), resume=True)
    assert [line["step"] for line in read_lines(tmp_path / "metrics.jsonl")] == [1]


def damage(run, stage: str, step: int) -> None:
    (run / "checkpoints" / stage / str(step) / "meta" / "metadata").write_text("{}")


def lines_of(run) -> list[tuple[str, int]]:
    return [(line["stage"], line["step"]) for line in read_lines(run / "metrics.jsonl")]


def test_a_resumed_stage_goes_on_from_the_newest_intact_checkpoint_says_so_and_keeps_the_others(
    drive, saved, tmp_path, said
):
    drive(CountingStage(3), save_every=1, keep_last=100)
    for step in (2, 3):
        damage(tmp_path, "ppo", step)
    stage = drive(CountingStage(4), resume=True)
    assert int(stage.state.step) == stage.position()["count"] == 4 and saved() == {1, 4}
    damaged = "is damaged: meta/metadata is cut short: 2 of "
    for step in (2, 3):
        line = next(x for x in said.getvalue().splitlines() if f"/{step} {damaged}" in x)
        assert f"the one after step 1 of ppo is used; the damaged one is renamed to {step}.damaged" in line
        assert (tmp_path / "checkpoints" / "ppo" / f"{step}.damaged").is_dir()
    assert lines_of(tmp_path) == [("ppo", step) for step in (1, 2, 3, 4)]


def test_a_run_of_which_no_checkpoint_is_intact_loses_nothing(drive, tmp_path):
    drive(CountingStage(2), save_every=1, keep_last=100)
    for step in (1, 2):
        damage(tmp_path, "ppo", step)
    with pytest.raises(ValueError, match=r"no checkpoint is intact: .*/2 is damaged: .*/1 is .*start a new run"):
        drive(CountingStage(3), resume=True)
    assert len(lines_of(tmp_path)) == 2


@pytest.mark.parametrize("left", [1, None], ids=["an older one is left", "none is left"])
def test_a_damaged_end_of_an_earlier_stage_is_trained_again_and_the_later_stage_goes_on(drive, tmp_path, said, left):
    drive(FirstStage(3), CountingStage(2), save_every=1, keep_last=100)
    for step in (1, 2, 3):
        if step != left:
            damage(tmp_path, "warm_start", step)
    stage = drive(FirstStage(3), CountingStage(3), resume=True)
    assert stage.position()["count"] == 3
    assert lines_of(tmp_path) == [*(("warm_start", s) for s in (1, 2, 3)), *(("ppo", s) for s in (1, 2, 3))]
    assert ("stage warm_start begins again" in said.getvalue()) == (left is None)


def test_a_stage_without_an_intact_checkpoint_begins_again_after_the_one_before_it(drive, tmp_path, said):
    drive(FirstStage(2), CountingStage(2))
    damage(tmp_path, "ppo", 2)
    drive(FirstStage(2), CountingStage(3), resume=True)
    assert lines_of(tmp_path) == [*(("warm_start", s) for s in (1, 2)), *(("ppo", s) for s in (1, 2, 3))]
    assert "ppo/2 is damaged" in said.getvalue() and "stage ppo begins again" in said.getvalue()


def test_a_checkpoint_that_does_not_fit_or_cannot_be_read_is_not_taken_for_damage(drive, tmp_path, monkeypatch):
    drive(CountingStage(2), save_every=1, keep_last=100)
    stage = CountingStage(3)
    stage.state = state_at(0, 0.0)
    with pytest.raises(ValueError, match=r"/2 does not fit this run's policy and optimizer"):
        drive(stage, resume=True)

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("ntl_jax.train.checkpoints.manifest._sha256", fail)
        with pytest.raises(ValueError, match=r"cannot be read: .*Input/output error.*: make it readable, or move it"):
            drive(CountingStage(3), resume=True)
    assert {path.name for path in (tmp_path / "checkpoints" / "ppo").iterdir()} == {"1", "2"}
    drive(CountingStage(3), resume=True)


def test_a_resumed_cursor_has_as_many_rows_as_there_are_now(drive, tmp_path):
    """Changes of the data are refused before this, unless they are allowed."""
    drive(CountingStage(1))
    drive(CountingStage(2, num_rows=9), resume=True)
    newest = newest_meta(tmp_path)
    assert newest is not None and newest[1]["cursor"]["num_rows"] == 9


def test_a_checkpoint_records_position_fingerprints_and_planned_updates(drive, tmp_path):
    drive(CountingStage(1))
    newest = newest_meta(tmp_path)
    assert newest is not None and newest[0] == "ppo"
    assert newest[1]["count"] == 1 and newest[1]["fingerprints"] == {"data.train": "77aa"}
    assert newest[1]["planned_updates"] == {"policy": 8}


def test_a_terminated_stage_finishes_its_step_saves_it_and_says_so(drive, saved):
    with pytest.raises(Terminated, match="SIGINT: terminated after step 1 of stage ppo, which is saved") as stop:
        drive(CountingStage(3, 1), terminated=1)
    assert stop.value.code == 130
    assert saved() == {1}
    stage = drive(CountingStage(3), resume=True)
    assert stage.position()["count"] == 3


def test_termination_in_the_last_step_of_the_run_ends_it_as_usual(drive, saved):
    drive(CountingStage(1), terminated=1)
    assert saved() == {1}


def test_termination_in_the_last_step_of_a_stage_keeps_the_next_from_beginning(drive, tmp_path):
    with pytest.raises(Terminated, match="terminated after step 2 of stage warm_start, which is saved"):
        drive(FirstStage(2), CountingStage(1), terminated=2)
    assert lines_of(tmp_path) == [("warm_start", 1), ("warm_start", 2)]
    drive(FirstStage(2), CountingStage(1), resume=True)
    assert lines_of(tmp_path) == [("warm_start", 1), ("warm_start", 2), ("ppo", 1)]


def test_termination_in_the_evaluation_before_the_first_step_ends_the_run_before_it(drive, accuracies):
    with pytest.raises(Terminated, match="terminated before step 1 of stage ppo"):
        drive(CountingStage(2, 1), terminated=0)
    assert list(accuracies()) == [0]
    drive(CountingStage(2, 1), resume=True)
    assert list(accuracies()) == [0, 1, 2]


@pytest.mark.parametrize(("step", "arrived"), [(1, 1), (2, 2), (3, 2)])
def test_a_stage_that_loses_its_workers_is_saved_at_the_step_before_and_goes_on_from_there(
    drive, saved, tmp_path, step, arrived
):
    """With what had arrived since; step 2 was saved by its interval, before anything arrived for the next one."""
    stage = CountingStage(4, loses_workers_at=step)
    message = f"stage ppo is saved after step {step - 1}; --resume goes on. 0 of 2 workers are left. Deaths: killed"
    with pytest.raises(WorkersLostError) as error:
        drive(stage, save_every=2, keep_last=100)
    assert str(error.value) == message
    assert saved() == {step - 1}
    newest = newest_meta(tmp_path)
    assert newest is not None and newest[1]["count"] == step - 1
    again = drive(CountingStage(4), resume=True)
    assert int(again.state.step) == again.position()["count"] == 4
    assert again.samples["draws"].tolist() == [arrived]
    assert [line["step"] for line in read_lines(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4]


def test_a_stage_that_loses_its_workers_while_it_waits_to_be_saved_is_saved_without_them(drive, saved, tmp_path):
    with pytest.raises(WorkersLostError, match="stage ppo is saved after step 2; --resume goes on"):
        drive(CountingStage(4, loses_workers_after=2), save_every=2, keep_last=100)
    assert saved() == {2}
    drive(CountingStage(4), resume=True)
    assert [line["step"] for line in read_lines(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4]


def test_a_step_that_is_saved_already_is_not_saved_again_when_workers_are_lost(drive, saved, tmp_path):
    with pytest.raises(WorkersLostError):
        drive(CountingStage(4, loses_workers_at=3), save_every=1, keep_last=100)
    written = (tmp_path / "checkpoints" / "ppo" / "2").stat().st_mtime_ns
    with pytest.raises(WorkersLostError, match="is saved after step 2"):
        drive(CountingStage(4, loses_workers_at=3), save_every=1, keep_last=100, resume=True)
    assert saved() == {1, 2} and (tmp_path / "checkpoints" / "ppo" / "2").stat().st_mtime_ns == written


def test_a_checkpoint_holds_the_samples_for_later_steps(drive):
    drive(CountingStage(3), save_every=1)
    assert drive(CountingStage(5), resume=True, save_every=100).samples["draws"].tolist() == [3]


def test_a_step_that_is_not_finite_ends_the_run_and_leaves_no_line(drive, accuracies, tmp_path):
    with pytest.raises(NonFiniteError, match="ppo step 2: a loss or gradient is not finite"):
        drive(CountingStage(3, metrics={2: {"non_finite": 1.0}}))
    assert list(accuracies()) == [1]
    assert json.loads((tmp_path / "non_finite.json").read_text())["prompts"] == [2]


def test_a_reward_that_always_fails_ends_the_run_and_leaves_every_traceback(drive, scored, tmp_path):
    failed = scored._replace(outcomes=[scored.outcomes[-1]] * 8, reward_errors=[(i, "no reward") for i in range(8)])
    with pytest.raises(RewardError, match=r"ppo step 1: .* on all 8 samples"):
        drive(CountingStage(3, scored=failed))
    assert len(read_lines(tmp_path / "reward_errors.jsonl")) == 8
    assert not read_lines(tmp_path / "metrics.jsonl")


def test_a_number_loss_without_numbers_to_learn_is_told_once(drive, scored, said):
    empty = {step: {"actor/ntl_loss": float("nan")} for step in (2, 3)}
    drive(CountingStage(3, metrics=empty, scored=scored))
    (line,) = [line for line in said.getvalue().splitlines() if "no number token" in line]
    assert line.startswith("ppo step 2: ") and "answer.pattern" in line


def test_an_alarm_ends_the_run_after_its_step_is_saved_if_the_settings_say_so_and_the_run_goes_on(drive):
    alarm = {2: {"alarm/engine_kl": 1.0}}
    assert drive(CountingStage(3, metrics=alarm), resume=False).state.step == 3
    with pytest.raises(MismatchError, match=r"ppo step 2, which is saved: alarm engine_kl: .*on_alarm='warn'"):
        drive(CountingStage(3, metrics=alarm), divergence=DivergenceSection(on_alarm="stop"))
    stage = CountingStage(3, metrics=alarm)
    assert drive(stage, resume=True).state.step == 3

# SPDX-License-Identifier: Apache-2.0
"""Drives the stages of a run: when they are evaluated, saved and ended, and where they go on."""

import contextlib
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ntl_jax.config import RunConfig, printable
from ntl_jax.metrics import STAGES, ProgressView
from ntl_jax.metrics.memory import memory_metrics
from ntl_jax.rollout.engine import WorkersLostError
from ntl_jax.train.checkpoints.resume import FINGERPRINTS, record
from ntl_jax.train.evaluation import Evaluator, evaluation_metrics, unrewarded
from ntl_jax.train.journal.journal import Journal, Unwritten
from ntl_jax.train.journal.profile import Profiler
from ntl_jax.train.journal.step_samples import StepSamples
from ntl_jax.train.stages.stage import Stage
from ntl_jax.train.stops import (
    MismatchError,
    Terminated,
    Termination,
    alarms_on,
    half_unrewarded,
    stop_if_not_finite,
    stop_if_unrewarded,
    untaught_numbers,
)

if TYPE_CHECKING:
    from ntl_jax.train.checkpoints.checkpoint import Restored
    from ntl_jax.train.checkpoints.checkpointer import Checkpointer

LIVE = {
    "warm_start/cross_entropy": "cross entropy",
    "warm_start/ntl_loss": "NTL",
    "critic/score/mean": "reward",
    "reward/accuracy": "accuracy",
    "ntl/loss": "NTL loss",
    "val/accuracy": "held-out accuracy",
    "staleness/mean": "staleness",
    "pool/workers": "workers",
    "pool/restarts": "restarts",
    "perf/throughput": "tokens/s",
}
"""Metrics of the progress bars and their names there."""


class Driver:
    """Runs the stages of training, and decides when to evaluate, save and stop.

    Args:
        config: the run's configuration.
        folder: the run folder.
        journal: writes metrics, samples and evaluations.
        profiler: traces steps.
        termination: whether the process was asked to end.
        console: shows progress.
        evaluate: evaluates a policy.
        data: the run's fingerprints.
        newest: the stage to go on with, each stage from its newest checkpoint; None: the run begins.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        journal: Journal | Unwritten,
        profiler: Profiler,
        termination: Termination,
        console: Console,
        *,
        evaluate: Evaluator,
        data: Mapping[str, str],
        newest: str | None,
    ):
        self._config, self._folder, self._journal, self._console = config, folder, journal, console
        self._termination, self._data, self._newest, self._profiler = termination, data, newest, profiler
        self._evaluator, self._settings = evaluate, config.trainer
        self._said: set[str] = set()
        """What has been said that is said once."""
        self._done: list[str] = []
        """The stages that have ended."""
        self._held_out: dict[str, float] = {}
        """Evaluation metrics of the newest policy, if it was evaluated."""

    def train(self, stage: Stage) -> Stage:
        """Runs the stage to its end, from its newest checkpoint if the run resumes."""
        from ntl_jax.train.checkpoints.checkpointer import Checkpointer  # orbax: imported while XLA compiles

        keep_last, elsewhere = self._settings.keep_last, self._settings.checkpoint_folder
        checkpoints = Checkpointer(self._folder, stage.name, keep_last=keep_last, elsewhere=elsewhere)
        with contextlib.closing(checkpoints):
            step = self._begin(stage, checkpoints)
            finished = step == stage.total or self._target_reached(stage)
            self._end_if_asked(stage, step, checkpoints, self._termination.agreed(), finished=finished)
            with ProgressView(stage.name, stage.total, start=step, console=self._console) as view:
                while not finished:
                    step += 1
                    with (
                        self._saved_if_workers_are_lost(stage, step - 1, checkpoints),
                        self._profiler.step(stage.name, step),
                    ):
                        metrics, samples = stage.step()
                    metrics = self._finish(stage, step, metrics, samples)
                    view.update(step, {LIVE[name]: metrics[name] for name in LIVE if name in metrics})
                    finished = step == stage.total or self._target_reached(stage)
                    alarms = alarms_on(metrics) if self._config.divergence.on_alarm == "stop" else []
                    asked = self._termination.agreed()
                    ends = finished or asked or alarms
                    if ends or step % self._settings.save_every == 0 or self._improved(checkpoints):
                        with self._saved_if_workers_are_lost(stage, step, checkpoints):
                            stage.wait()
                        self._save(stage, step, stage.position(), checkpoints)
                    if alarms:
                        checkpoints.wait()
                        raise MismatchError(
                            f"{stage.name} step {step}, which is saved: alarm {' and '.join(alarms)}: sampler and "
                            f"trainer disagree; {self._folder / 'divergence.log'} holds figures and bounds. Mend what "
                            "it names, then --resume, or set divergence.on_alarm='warn'"
                        )
                    if ends:
                        self._end_if_asked(stage, step, checkpoints, asked, finished=finished)
        if step < stage.total:
            self._say(f"{stage.name} ends after step {step}: trainer.target_accuracy is reached")
        self._done.append(stage.name)
        return stage

    def _end_if_asked(
        self,
        stage: Stage,
        step: int,
        checkpoints: "Checkpointer",
        number: signal.Signals | None,
        *,
        finished: bool,
    ) -> None:
        """Raises Terminated if a signal asked for it and training is left; the step is saved, or none is done."""
        is_last = stage.name == STAGES[-1] or not self._settings.steps
        if number is None or (finished and is_last):
            return
        checkpoints.wait()
        where = (
            f"after step {step} of stage {stage.name}, which is saved"
            if step
            else f"before step 1 of stage {stage.name}"
        )
        raise Terminated(f"{number.name}: terminated {where}", number)

    def _begin(self, stage: Stage, checkpoints: "Checkpointer") -> int:
        """The step to continue from. The initial policy of a stage may use the held-out metrics of the stage before."""
        if self._newest is not None and (restored := self._restored(stage, checkpoints)) is not None:
            step, state, position, self._held_out, arrived = restored
            if FINGERPRINTS in position:  # rows are unchanged, or allowed to change in number
                position["cursor"]["num_rows"] = stage.position()["cursor"]["num_rows"]
            stage.restore(state, position, arrived)
            if step < stage.total and not self._target_reached(stage) and not self._is_past(stage):
                self._journal.cut_back(stage.name, step)  # else its lines are complete, and others may follow
            return step
        if not self._is_past(stage):
            self._journal.cut_back(stage.name, -1)
        if stage.is_evaluated(0):
            if not self._held_out:
                self._say(f"{stage.name}   evaluating the initial policy")
            self._held_out = self._held_out or self._evaluate(stage, 0)
            self._journal.write(stage.name, 0, self._held_out, None)
        return 0

    def _restored(self, stage: Stage, checkpoints: "Checkpointer") -> "Restored | None":
        """The newest intact checkpoint; None if there is none and the stage can begin again as it began before."""
        from ntl_jax.train.checkpoints.checkpoint import DamagedError  # orbax, as in `train`

        if checkpoints.latest_step() is None:
            return None
        try:
            return checkpoints.restore(stage.state, self._say)
        except DamagedError as error:
            if not self._is_past(stage) and not self._done:
                raise
            self._say(f"{error}; stage {stage.name} begins again")
            checkpoints.discard()
            return None

    def _is_past(self, stage: Stage) -> bool:
        """Whether a later stage goes on: what is left of this one is done again, and its lines are there."""
        return self._newest is not None and STAGES.index(stage.name) < STAGES.index(self._newest)

    def _say(self, line: str) -> None:
        self._console.print(printable(line), soft_wrap=True, markup=False)

    def _say_once(self, about: str, line: str | None) -> None:
        if line is not None and about not in self._said:
            self._said.add(about)
            self._say(line)

    def _save(self, stage: Stage, step: int, position: Mapping[str, Any], checkpoints: "Checkpointer") -> None:
        self._journal.flush()
        meta = {**position, **record(self._config, stage.name, self._data)}
        checkpoints.save(step, stage.state, meta, self._held_out, stage.arrived())

    @contextlib.contextmanager
    def _saved_if_workers_are_lost(self, stage: Stage, step: int, checkpoints: "Checkpointer") -> Iterator[None]:
        """Saves the stage as it was after ``step`` if the context ends with a WorkersLostError, which is raised."""
        position = stage.position()
        try:
            yield
        except WorkersLostError as error:
            if checkpoints.latest_step() != step:
                self._save(stage, step, position, checkpoints)
            raise WorkersLostError(
                f"stage {stage.name} is saved after step {step}; --resume goes on. {error}"
            ) from error

    def _finish(
        self, stage: Stage, step: int, metrics: dict[str, float], samples: StepSamples | None
    ) -> dict[str, float]:
        """Checks and writes the results of a step, and evaluates if it is time; returns all metrics."""
        if samples is not None:
            scored = samples.scored
            self._journal.write_reward_errors(stage.name, step, scored)
            stop_if_unrewarded(stage.name, step, scored, self._folder)
            self._say_once("rewards", half_unrewarded(stage.name, step, scored))
        self._say_once(f"numbers of {stage.name}", untaught_numbers(stage.name, step, metrics))
        metrics |= memory_metrics()
        stop_if_not_finite(stage.name, stage.section, step, metrics, stage.last_prompts, self._folder)
        self._held_out = self._evaluate(stage, step) if stage.is_evaluated(step) else {}
        metrics |= self._held_out
        if not self._is_past(stage):
            self._journal.write(stage.name, step, metrics, samples)
        return metrics

    def _evaluate(self, stage: Stage, step: int) -> dict[str, float]:
        stage.wait()
        evaluation = self._evaluator(stage.weights())
        self._journal.write_evaluation(stage.name, step, evaluation)
        if said := unrewarded(evaluation):
            self._say_once("evaluation", f"{stage.name} step {step}: {said}; evaluations/ holds every reason")
        return evaluation_metrics(evaluation)

    def _target_reached(self, stage: Stage) -> bool:
        target = self._settings.target_accuracy
        if target is None or stage.eval_every is None:
            return False
        return self._held_out.get("val/accuracy", 0.0) >= target

    def _improved(self, checkpoints: "Checkpointer") -> bool:
        return bool(self._held_out) and self._held_out["val/accuracy"] > checkpoints.best_accuracy()

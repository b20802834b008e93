# SPDX-License-Identifier: Apache-2.0
"""A whole run: header, warm start, PPO, evaluations, checkpoints, report."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flax import nnx
from rich.console import Console

from ntl_jax.config import RunConfig
from ntl_jax.metrics import ProgressView, check_installed, plot_curves, print_comparison, print_header, read_lines
from ntl_jax.records import Version
from ntl_jax.train.checkpoints.checkpointer import Checkpointer, newest_meta
from ntl_jax.train.checkpoints.resume import FINGERPRINTS, check_data, check_schedule, fingerprints, record
from ntl_jax.train.evaluation import evaluate, evaluation_metrics
from ntl_jax.train.factory import Parts, assemble, check_training, ppo_trainer, supervised_trainer
from ntl_jax.train.header import describe, write_provenance
from ntl_jax.train.journal.digits import LOGGER
from ntl_jax.train.journal.journal import Journal
from ntl_jax.train.policy_optimization import PPOTrainer
from ntl_jax.train.stops import Terminated, Termination, noticing_sigterm, stop_if_not_finite, stop_if_unrewarded
from ntl_jax.train.supervised import SupervisedTrainer
from ntl_jax.update.average import averaged

WARM_START, PPO = "warm_start", "ppo"
LIVE = {
    "warm_start/cross_entropy": "cross entropy",
    "warm_start/ntl_loss": "NTL",
    "critic/score/mean": "reward",
    "reward/accuracy": "accuracy",
    "ntl/loss": "NTL loss",
    "val/accuracy": "held-out accuracy",
    "perf/throughput": "tokens/s",
}
"""MetricSums of the progress bars and how they are called there."""

Trainer = SupervisedTrainer | PPOTrainer


def run(
    config: RunConfig,
    workdir: Path,
    *,
    resume: bool = False,
    allow_changed_schedule: bool = False,
    allow_changed_data: bool = False,
) -> dict[str, float]:
    """Trains as the configuration says and leaves everything in the run folder.

    Args:
        config: the resolved configuration.
        workdir: the run folder, created here; with ``resume``, of the run to continue.
        resume: go on from the newest checkpoint, from the beginning where there is none.
        allow_changed_schedule: continue even if another number of steps changes the learning-rate schedule.
        allow_changed_data: continue even if the contents of the files that the settings name have changed.

    Returns:
        Held-out accuracy "before" and "after" PPO.

    Raises:
        ValueError: for settings, files or reward functions that are invalid or differ from the run to continue, or for
            trackers that are not installed.
        NonFiniteError: with ``non_finite.json`` in the run folder holding what led to it.
        RewardError: when the reward function fails on every sample of a step; ``reward_errors.jsonl`` in the run folder
            holds the traceback of every failure, whether it ended the run or not.
        Terminated: after SIGTERM, once the step is done and saved.
    """
    check_installed(config.tracking.backends)
    saved = newest_meta(workdir) if resume else None
    if saved is not None and not allow_changed_schedule:
        check_schedule(config, *saved)
    parts = assemble(config)
    with contextlib.closing(parts.engine):
        check_training(parts)
        data = fingerprints(parts)
        if saved is not None and not allow_changed_data:
            check_data(config, data, saved[1])
        workdir.mkdir(parents=True, exist_ok=True)
        write_provenance(config, workdir)
        console = Console(highlight=False)
        print_header(describe(parts, workdir), console=console)
        if saved is not None and FINGERPRINTS not in saved[1]:
            console.print("the newest checkpoint has no fingerprints: the data are not checked for changes")
        debug_log = _debug_log(workdir) if config.ntl.debug_mode else contextlib.nullcontext()
        with debug_log, Journal(config, workdir) as journal, noticing_sigterm() as termination:
            driver = Driver(parts, workdir, journal, termination, console, data=data, resume=resume)
            params = parts.params
            if config.warm_start.steps:
                trainer = driver.train(WARM_START, supervised_trainer(parts), config.warm_start.steps)
                params = policy_of(trainer)
            if config.trainer.steps:
                driver.train(PPO, ppo_trainer(parts, params), config.trainer.steps)
    plot_curves(workdir / "metrics.jsonl", workdir / "curves.png")
    return report(workdir, console)


@contextlib.contextmanager
def _debug_log(workdir: Path) -> Iterator[None]:
    """The logger ``ntl`` writes to ``ntl_debug.log`` meanwhile, and not across the progress bars."""
    handler, level = logging.FileHandler(workdir / "ntl_debug.log", encoding="utf-8"), LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        LOGGER.propagate = True
        handler.close()


def policy_of(trainer: Trainer) -> Any:
    """The parameters that a stage has come to: those of the policy, or their average where one is kept."""
    policy = trainer.state.policy
    return averaged(policy.params, policy.opt_state)


class Driver:
    """Runs the stages of training: when to evaluate, save and stop. ``data`` are the run's fingerprints."""

    def __init__(
        self,
        parts: Parts,
        folder: Path,
        journal: Journal,
        termination: Termination,
        console: Console,
        *,
        data: Mapping[str, str],
        resume: bool,
    ):
        self._parts, self._folder, self._journal, self._console = parts, folder, journal, console
        self._termination, self._data, self._resume = termination, data, resume
        self._settings = parts.config.trainer
        self._held_out: dict[str, float] = {}
        """MetricSums of the newest policy, where it was evaluated."""

    def train(self, stage: str, trainer: Trainer, total: int) -> Trainer:
        """Runs the stage to its end, from its newest checkpoint if the run resumes."""
        with contextlib.closing(Checkpointer(self._folder, stage, keep_last=self._settings.keep_last)) as checkpoints:
            step = self._begin(stage, trainer, checkpoints, total)
            finished = step == total or self._target_reached(stage)
            with ProgressView(stage, total, start=step, console=self._console) as view:
                while not finished:
                    step += 1
                    metrics = self._step(stage, step, trainer, total)
                    view.update(step, {LIVE[name]: metrics[name] for name in LIVE if name in metrics})
                    finished = step == total or self._target_reached(stage)
                    ends = finished or self._termination.requested
                    if ends or step % self._settings.save_every == 0 or self._improved(checkpoints):
                        meta = trainer.position() | record(self._parts.config, stage, self._data)
                        checkpoints.save(step, trainer.state, meta, self._held_out)
                    if ends and not finished:
                        raise Terminated(f"terminated after step {step} of stage {stage}, which is saved")
        if step < total:
            self._console.print(f"{stage} ends after step {step}: trainer.target_accuracy is reached")
        return trainer

    def _begin(self, stage: str, trainer: Trainer, checkpoints: Checkpointer, total: int) -> int:
        """The step to go on from. A fresh PPO stage starts with the held-out metrics of what it was given."""
        if self._resume and checkpoints.latest_step() is not None:
            step, state, position, self._held_out = checkpoints.restore(trainer.state)
            if FINGERPRINTS in position:  # the rows are unchanged, or changes are allowed and their number may differ
                position["cursor"]["num_rows"] = trainer.position()["cursor"]["num_rows"]
            trainer.restore(state, position)
            if step < total and not self._target_reached(stage):
                self._journal.cut_back(stage, step)  # else its lines are whole, and the next stage's may follow them
            return step
        self._journal.cut_back(stage, -1)
        if stage == PPO:
            self._held_out = self._held_out or self._evaluate(stage, 0, trainer)
            self._journal.write(stage, 0, self._held_out, None)
        return 0

    def _step(self, stage: str, step: int, trainer: Trainer, total: int) -> dict[str, float]:
        """One step of the trainer, with everything that is written of it; returns its metrics."""
        metrics, scored = trainer.step()
        if scored is not None:
            self._journal.write_reward_errors(stage, step, scored)
            stop_if_unrewarded(stage, step, scored, self._folder)
        stop_if_not_finite(stage, step, metrics, trainer.last_prompts, self._folder)
        due = step == total or (stage == PPO and step % self._settings.eval_every == 0)
        self._held_out = self._evaluate(stage, step, trainer) if due else {}
        metrics |= self._held_out
        self._journal.write(stage, step, metrics, scored)
        return metrics

    def _evaluate(self, stage: str, step: int, trainer: Trainer) -> dict[str, float]:
        decoder = nnx.merge(self._parts.graph, policy_of(trainer))
        averages = stage == PPO and self._parts.config.algorithm.optimizer.ema_decay > 0
        # The policy optimization begins with what the warm start has come to.
        version = Version(step if stage == PPO else 0, "average" if averages else "newest")
        evaluation = evaluate(self._parts, decoder, version=version)
        self._journal.write_evaluation(stage, step, evaluation)
        return evaluation_metrics(evaluation)

    def _target_reached(self, stage: str) -> bool:
        target = self._settings.target_accuracy
        return stage == PPO and target is not None and self._held_out.get("val/accuracy", 0.0) >= target

    def _improved(self, checkpoints: Checkpointer) -> bool:
        return bool(self._held_out) and self._held_out["val/accuracy"] > checkpoints.best_accuracy()


def report(workdir: Path, console: Console) -> dict[str, float]:
    """Prints the held-out metrics before and after PPO, read from ``metrics.jsonl``, and where everything is."""
    lines = [line for line in read_lines(workdir / "metrics.jsonl") if "val/accuracy" in line]
    before = next((line for line in lines if line["stage"] == PPO), lines[-1])
    after = lines[-1]
    names = [name for name in after if name.startswith("val/")]
    print_comparison(
        ("before PPO", "after PPO"),
        {
            name: (f"{before[name]:.4g}", f"{after[name]:.4g}")
            for name in names
            if None not in (before[name], after[name])
        },
        console=console,
    )
    console.print(f"run folder: {workdir}", soft_wrap=True, markup=False)
    return {"before": before["val/accuracy"], "after": after["val/accuracy"]}

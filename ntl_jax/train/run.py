# SPDX-License-Identifier: Apache-2.0
"""A whole run: header, warm start, PPO, evaluations, checkpoints, report. Everything that touches the run folder."""

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from ntl_jax.config import RunConfig
from ntl_jax.metrics import (
    MetricWriter,
    ProgressView,
    RewardErrorWriter,
    SampleWriter,
    plot_curves,
    print_comparison,
    print_header,
    read_lines,
)
from ntl_jax.models import Decoder
from ntl_jax.records import Sampling
from ntl_jax.train.checkpoint import Checkpointer
from ntl_jax.train.describe import describe, write_provenance
from ntl_jax.train.digit_info import LOGGER, save_digit_info
from ntl_jax.train.extraction import captures_digits
from ntl_jax.train.factory import Parts, assemble, ppo_trainer, supervised_trainer
from ntl_jax.train.ppo import PPOTrainer
from ntl_jax.train.reporting import evaluation_figures, sample_record, shown_rows
from ntl_jax.train.scoring import Scored
from ntl_jax.train.supervised import SupervisedTrainer

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
"""Figures of the progress bars and how they are called there."""


class NonFiniteError(RuntimeError):
    """A loss or gradient was not finite: the state is as before that step, and the run ends."""


class RewardError(RuntimeError):
    """The reward function gave no sample of a step a score: there is nothing to learn from, and the run ends."""


def run(config: RunConfig, workdir: Path, *, resume: bool = False) -> dict[str, float]:
    """Trains as the configuration says and leaves everything in the run folder.

    Args:
        config: the resolved configuration.
        workdir: the run folder, created here; with ``resume``, of the run to continue.
        resume: go on from the newest checkpoint, from the beginning where there is none.

    Returns:
        Held-out accuracy "before" and "after" PPO.

    Raises:
        ValueError: for settings, files or reward functions that do not fit.
        NonFiniteError: with ``non_finite.json`` in the run folder holding what led to it.
        RewardError: when the reward function fails on every sample of a step; ``reward_errors.jsonl`` in the run folder
            holds the traceback of every failure, whether it ended the run or not.
    """
    parts = assemble(config)
    workdir.mkdir(parents=True, exist_ok=True)
    write_provenance(config, workdir)
    console = Console(highlight=False)
    print_header(describe(parts, workdir), console=console)
    debug_log = _debug_log(workdir) if config.ntl.debug_mode else contextlib.nullcontext()
    with (
        debug_log,
        MetricWriter(workdir) as metrics,
        SampleWriter(workdir) as samples,
        RewardErrorWriter(workdir) as reward_errors,
        contextlib.closing(parts.engine),
    ):
        folder = RunFolder(parts, workdir, metrics, samples, reward_errors, console, resume)
        params = parts.params
        if config.warm_start.steps:
            trainer = folder.train(WARM_START, supervised_trainer(parts), config.warm_start.steps)
            params = trainer.state.policy.params
        if config.trainer.steps:
            folder.train(PPO, ppo_trainer(parts, params), config.trainer.steps)
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


class RunFolder:
    """Drives a trainer through its stage and writes down what happens."""

    def __init__(
        self,
        parts: Parts,
        path: Path,
        metrics: MetricWriter,
        samples: SampleWriter,
        reward_errors: RewardErrorWriter,
        console: Console,
        resume: bool,
    ):
        self._parts, self._path, self._console, self._resume = parts, path, console, resume
        self._metrics, self._samples, self._reward_errors = metrics, samples, reward_errors
        self._settings = parts.config.trainer
        self._held_out: dict[str, float] = {}

    def train(self, stage: str, trainer: SupervisedTrainer | PPOTrainer, total: int) -> SupervisedTrainer | PPOTrainer:
        """Runs the stage to its end, from its newest checkpoint if the run resumes."""
        with contextlib.closing(Checkpointer(self._path / "checkpoints", stage)) as checkpoints:
            start = self._begin(stage, trainer, checkpoints, total)
            with ProgressView(stage, total, start=start, console=self._console) as view:
                for step in range(start + 1, total + 1):
                    figures, scored = trainer.step()
                    self._stop_if_unrewarded(stage, step, scored)
                    self._stop_if_not_finite(stage, step, trainer, figures)
                    due = step == total or (stage == PPO and step % self._settings.eval_every == 0)
                    if due:
                        self._held_out = self._evaluate(trainer.decoder())
                        figures |= self._held_out
                    self._write(stage, step, figures, scored)
                    view.update(step, {LIVE[name]: figures[name] for name in LIVE if name in figures})
                    if step == total or step % self._settings.save_every == 0:
                        checkpoints.save(step, trainer.state, trainer.position())
        return trainer

    def _begin(self, stage: str, trainer: SupervisedTrainer | PPOTrainer, checkpoints: Checkpointer, total: int) -> int:
        """The step to go on from. A fresh PPO stage starts with the held-out figures of what it was given."""
        if self._resume and checkpoints.latest_step() is not None:
            step, state, position = checkpoints.restore(trainer.state)
            trainer.restore(state, position)
            if step < total:  # a finished stage's lines are whole, and the next stage's may follow them
                self._cut_back(stage, step)
            return step
        self._cut_back(stage, -1)
        if stage == PPO:
            self._write(stage, 0, self._held_out or self._evaluate(trainer.decoder()), None)
        return 0

    def _cut_back(self, stage: str, step: int) -> None:
        """What was written past a checkpoint is written again."""
        self._metrics.truncate_after(stage, step)
        self._samples.truncate_after(stage, step)
        self._reward_errors.truncate_after(stage, step)

    def _write(self, stage: str, step: int, figures: dict[str, float], scored: Scored | None) -> None:
        self._metrics.write(stage, step, figures)
        if scored is not None:
            for row in shown_rows(scored, self._settings.samples_per_step):
                self._samples.write(stage, step, sample_record(scored, row))
            if scored.ntl_info is not None and self._parts.config.ntl.save_digit_info:
                save_digit_info(scored, self._path / "digit_info" / f"{step:06}.npz")

    def _evaluate(self, decoder: Decoder) -> dict[str, float]:
        """Figures of greedy responses to the held-out problems."""
        parts, rollout = self._parts, self._parts.config.rollout
        sampling = Sampling(
            num_samples=1,
            max_tokens=rollout.max_tokens,
            temperature=0.0,
            stop_token_ids=parts.stop_token_ids,
            stop_strings=rollout.stop_strings,
            capture_digits=captures_digits(parts.config.ntl, parts.table),
        )
        parts.engine.load_weights(0, decoder)
        trajectories = parts.engine.generate(parts.eval_prompts, sampling, seed=0)
        return evaluation_figures(parts.scorer(parts.eval_prompts, trajectories, decoder))

    def _stop_if_unrewarded(self, stage: str, step: int, scored: Scored | None) -> None:
        """Writes down why samples have no reward; ends the run when none has one."""
        failed = [] if scored is None else [(i, o.error) for i, o in enumerate(scored.outcomes) if not o.valid]
        if scored is None or not failed:
            return
        for row, error in failed:
            self._reward_errors.write(stage, step, scored.prompts[row].index, error)
        if len(failed) == len(scored.outcomes):
            raise RewardError(
                f"{stage} step {step}: the reward function failed on all {len(failed)} samples, so that there is "
                f"nothing to learn from; {self._path / 'reward_errors.jsonl'} holds every traceback. The first:\n"
                f"{failed[0][1]}"
            )

    def _stop_if_not_finite(
        self, stage: str, step: int, trainer: SupervisedTrainer | PPOTrainer, figures: dict[str, float]
    ) -> None:
        if not figures.pop("non_finite"):
            return
        dump: dict[str, Any] = {"stage": stage, "step": step, "prompts": trainer.last_prompts, "figures": figures}
        path = self._path / "non_finite.json"
        path.write_text(json.dumps(dump, indent=1))
        section = "algorithm" if stage == PPO else stage
        raise NonFiniteError(
            f"{stage} step {step}: a loss or gradient is not finite. The state before it is kept; {path} holds the "
            f"figures and the prompts of the step. A lower {section}.optimizer.learning_rate usually helps."
        )


def report(workdir: Path, console: Console) -> dict[str, float]:
    """Prints the held-out figures before and after PPO, read from ``metrics.jsonl``, and where everything is."""
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

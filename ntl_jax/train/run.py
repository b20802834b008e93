# SPDX-License-Identifier: Apache-2.0
"""A whole run: header, warm start, PPO, evaluations, checkpoints, report."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ntl_jax.compilation_cache import keep_programs
from ntl_jax.config import RunConfig, printable
from ntl_jax.experience.scored import Scored
from ntl_jax.experience.scorer import LOGGER
from ntl_jax.metrics import ProgressView, check_installed, print_comparison, print_header, read_lines
from ntl_jax.metrics.log_file import log_to_file
from ntl_jax.rollout.engine import WorkersLostError
from ntl_jax.train.checkpoints.resume import FINGERPRINTS, check_data, check_schedule, fingerprints, record
from ntl_jax.train.engines import build_engine, check_packages
from ntl_jax.train.evaluation import Evaluator, evaluation_metrics
from ntl_jax.train.factory import (
    build_evaluator,
    build_scoring,
    build_task,
    check_run,
    ppo_trainer,
    supervised_trainer,
    supervised_update,
)
from ntl_jax.train.header import describe, warnings, write_provenance
from ntl_jax.train.journal.journal import Journal
from ntl_jax.train.policy import build_params, build_policy, check_checkpoint
from ntl_jax.train.prompts import build_prompts
from ntl_jax.train.stages.stage import Stage
from ntl_jax.train.stops import (
    Terminated,
    Termination,
    half_unrewarded,
    noticing_sigterm,
    stop_if_not_finite,
    stop_if_unrewarded,
)

if TYPE_CHECKING:
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


def run(
    config: RunConfig,
    workdir: Path,
    *,
    resume: bool = False,
    allow_changed_schedule: bool = False,
    allow_changed_data: bool = False,
) -> dict[str, float]:
    """Trains as the configuration says and writes everything to the run folder.

    Args:
        config: the resolved configuration. ``RunConfig.validate()`` also refuses settings without effect; they are not
            refused here, since an override may have switched off what a named configuration sets.
        workdir: the run folder, created here; with ``resume``, the folder of the run to continue.
        resume: continue from the newest checkpoint, or from the beginning if there is none.
        allow_changed_schedule: continue even if another number of steps changes the learning-rate schedule.
        allow_changed_data: continue even if the contents of the files that the settings name have changed.

    Returns:
        Held-out accuracy "before" and "after" PPO.

    Raises:
        ValueError: for settings, files or reward functions that are invalid or differ from the run to continue, or for
            trackers that are not installed.
        NonFiniteError: for a loss or gradient that is not finite; ``non_finite.json`` in the run folder holds the
            step's metrics and prompts.
        RewardError: when the reward function fails on every sample of a step, or hangs again and again;
            ``reward_errors.jsonl`` in the run folder holds every failure, including those that did not end the run.
        WorkersLostError: when a pool has lost too many workers; the stage is saved.
        Terminated: after SIGTERM, once the step is done and saved.
    """
    check_installed(config.tracking.backends)
    check_packages(config)
    config.validate(base=config)
    keep_programs(config.trainer.compilation_cache)
    saved = _saved(workdir) if resume else None
    if saved is not None and not allow_changed_schedule:
        check_schedule(config, *saved)
    task, policy = build_task(config), build_policy(config)
    check_checkpoint(config, policy)
    prompts = build_prompts(config, task, policy.tokenizer)
    scorer, digits = build_scoring(config, task, policy, prompts.shape(config.rollout.max_tokens))
    check_run(config, policy, prompts)
    with contextlib.ExitStack() as stack:
        stack.callback(scorer.close)
        scorer.try_out(*prompts.examples[0])
        background = stack.enter_context(ThreadPoolExecutor(2))  # everything is checked: from here on XLA compiles
        drawn = background.submit(build_params, policy, seed=config.seed)
        update = supervised_update(config, policy, prompts) if config.warm_start.steps else None
        if update is not None and (saved is None or saved[0] == "warm_start"):
            update.compile_ahead(background)
        params = drawn.result()
        data = fingerprints(policy, params, prompts, scorer.reward)
        if saved is not None and not allow_changed_data:
            check_data(config, data, saved[1])
        engine = build_engine(config, policy, max_prompt_tokens=prompts.longest)
        stack.enter_context(contextlib.closing(engine))
        workdir.mkdir(parents=True, exist_ok=True)
        write_provenance(config, workdir)
        console = Console(highlight=False)
        print_header(describe(config, policy, prompts, scorer.reward.spec, workdir), console=console)
        for warning in warnings(config, prompts):
            console.print(f"warning: {warning}", style="yellow", soft_wrap=True, markup=False)
        if saved is not None and FINGERPRINTS not in saved[1]:
            console.print("the newest checkpoint has no fingerprints: the data are not checked for changes")
        evaluate = build_evaluator(config, policy, prompts, engine, scorer, digits)
        if config.ntl.debug_mode:
            stack.enter_context(log_to_file(LOGGER, workdir / "ntl_debug.log"))
        stack.enter_context(log_to_file(logging.getLogger("ntl_jax.pool"), workdir / "pool.log"))
        journal, termination = stack.enter_context(Journal(config, workdir)), stack.enter_context(noticing_sigterm())
        driver = Driver(config, workdir, journal, termination, console, evaluate=evaluate, data=data, resume=resume)
        if update is not None:
            # Only the parameters are kept: the stage's optimizer state would take memory during the next one.
            params = driver.train(supervised_trainer(config, update, params)).weights().params
        if config.trainer.steps:
            driver.train(ppo_trainer(config, policy, params, prompts, engine, scorer, digits))
    from ntl_jax.metrics.curves import plot_curves  # imported last: it needs matplotlib

    plot_curves(workdir / "metrics.jsonl", workdir / "curves.png")
    return report(workdir, console)


def _saved(workdir: Path) -> tuple[str, dict[str, Any]] | None:
    """Stage and meta of the newest checkpoint."""
    from ntl_jax.train.checkpoints.checkpointer import newest_meta

    return newest_meta(workdir)


class Driver:
    """Runs the stages of training, and decides when to evaluate, save and stop.

    Args:
        config: the run's configuration.
        folder: the run folder.
        journal: writes metrics, samples and evaluations.
        termination: whether the process was asked to end.
        console: shows progress.
        evaluate: evaluates a policy.
        data: the run's fingerprints.
        resume: whether each stage continues from its newest checkpoint.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        journal: Journal,
        termination: Termination,
        console: Console,
        *,
        evaluate: Evaluator,
        data: Mapping[str, str],
        resume: bool,
    ):
        self._config, self._folder, self._journal, self._console = config, folder, journal, console
        self._termination, self._data, self._resume = termination, data, resume
        self._evaluator, self._settings = evaluate, config.trainer
        self._said_unrewarded = False
        self._held_out: dict[str, float] = {}
        """Evaluation metrics of the newest policy, if it was evaluated."""

    def train(self, stage: Stage) -> Stage:
        """Runs the stage to its end, from its newest checkpoint if the run resumes."""
        from ntl_jax.train.checkpoints.checkpointer import Checkpointer  # orbax: imported while XLA compiles

        keep_last = self._settings.keep_last
        with contextlib.closing(Checkpointer(self._folder, stage.name, keep_last=keep_last)) as checkpoints:
            step = self._begin(stage, checkpoints)
            finished = step == stage.total or self._target_reached(stage)
            with ProgressView(stage.name, stage.total, start=step, console=self._console) as view:
                while not finished:
                    step += 1
                    with self._saved_if_workers_are_lost(stage, step - 1, checkpoints):
                        metrics, scored = stage.step()
                    metrics = self._finish(stage, step, metrics, scored)
                    view.update(step, {LIVE[name]: metrics[name] for name in LIVE if name in metrics})
                    finished = step == stage.total or self._target_reached(stage)
                    ends = finished or self._termination.requested
                    if ends or step % self._settings.save_every == 0 or self._improved(checkpoints):
                        with self._saved_if_workers_are_lost(stage, step, checkpoints):
                            stage.wait()
                        self._save(stage, step, stage.position(), checkpoints)
                    if ends and not finished:
                        raise Terminated(f"terminated after step {step} of stage {stage.name}, which is saved")
        if step < stage.total:
            self._console.print(f"{stage.name} ends after step {step}: trainer.target_accuracy is reached")
        return stage

    def _begin(self, stage: Stage, checkpoints: "Checkpointer") -> int:
        """The step to continue from. The initial policy of a stage may use the held-out metrics of the stage before."""
        if self._resume and checkpoints.latest_step() is not None:
            step, state, position, self._held_out, arrived = checkpoints.restore(stage.state)
            if FINGERPRINTS in position:  # rows are unchanged, or allowed to change in number
                position["cursor"]["num_rows"] = stage.position()["cursor"]["num_rows"]
            stage.restore(state, position, arrived)
            if step < stage.total and not self._target_reached(stage):
                self._journal.cut_back(stage.name, step)  # else its lines are complete, and others may follow
            return step
        self._journal.cut_back(stage.name, -1)
        if stage.is_evaluated(0):
            if not self._held_out:
                self._console.print(f"{stage.name}   evaluating the initial policy")
            self._held_out = self._held_out or self._evaluate(stage, 0)
            self._journal.write(stage.name, 0, self._held_out, None)
        return 0

    def _save(self, stage: Stage, step: int, position: Mapping[str, Any], checkpoints: "Checkpointer") -> None:
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

    def _finish(self, stage: Stage, step: int, metrics: dict[str, float], scored: Scored | None) -> dict[str, float]:
        """Checks and writes the results of a step, and evaluates if it is time; returns all metrics."""
        if scored is not None:
            self._journal.write_reward_errors(stage.name, step, scored)
            stop_if_unrewarded(stage.name, step, scored, self._folder)
            if not self._said_unrewarded and (said := half_unrewarded(stage.name, step, scored)):
                self._console.print(said, markup=False)
                self._said_unrewarded = True
        stop_if_not_finite(stage.name, stage.section, step, metrics, stage.last_prompts, self._folder)
        self._held_out = self._evaluate(stage, step) if stage.is_evaluated(step) else {}
        metrics |= self._held_out
        self._journal.write(stage.name, step, metrics, scored)
        return metrics

    def _evaluate(self, stage: Stage, step: int) -> dict[str, float]:
        stage.wait()
        evaluation = self._evaluator(stage.weights())
        self._journal.write_evaluation(stage.name, step, evaluation)
        return evaluation_metrics(evaluation)

    def _target_reached(self, stage: Stage) -> bool:
        target = self._settings.target_accuracy
        if target is None or stage.eval_every is None:
            return False
        return self._held_out.get("val/accuracy", 0.0) >= target

    def _improved(self, checkpoints: "Checkpointer") -> bool:
        return bool(self._held_out) and self._held_out["val/accuracy"] > checkpoints.best_accuracy()


def report(workdir: Path, console: Console) -> dict[str, float]:
    """Prints the held-out metrics before and after PPO, read from ``metrics.jsonl``, and the paths of the results."""
    lines = [line for line in read_lines(workdir / "metrics.jsonl") if "val/accuracy" in line]
    before = next(line for line in lines if line["stage"] == lines[-1]["stage"])
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
    console.print(f"run folder: {printable(str(workdir))}", soft_wrap=True, markup=False)
    return {"before": before["val/accuracy"], "after": after["val/accuracy"]}

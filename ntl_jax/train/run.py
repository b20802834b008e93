# SPDX-License-Identifier: Apache-2.0
"""A whole run: header, warm start, PPO, evaluations, checkpoints, report."""

import contextlib
import logging
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console

from ntl_jax.compilation_cache import keep_programs
from ntl_jax.config import RunConfig, printable
from ntl_jax.console import command
from ntl_jax.ending import keep_traceback, remove_tracebacks, warn
from ntl_jax.experience.scorer import LOGGER
from ntl_jax.metrics import check_installed, print_comparison, print_header, read_lines
from ntl_jax.metrics.log_file import log_to_file
from ntl_jax.processes.alike import check_alike, check_same_data
from ntl_jax.processes.exchange import first_does, gather, is_first, is_of_another, num_processes, process_id
from ntl_jax.processes.watch import may_follow
from ntl_jax.profile_range import check_range
from ntl_jax.run_folder import LOCK, claimed
from ntl_jax.train.checkpoints.resume import FINGERPRINTS, check_data, check_schedule, fingerprints
from ntl_jax.train.driver import Driver
from ntl_jax.train.engines import build_engine, check_packages
from ntl_jax.train.factory import (
    build_evaluator,
    build_scoring,
    build_task,
    check_run,
    memory_uses,
    ppo_trainer,
    supervised_trainer,
    supervised_update,
)
from ntl_jax.train.header import describe, find_warnings, write_provenance
from ntl_jax.train.journal.journal import Journal, Unwritten, open_divergence_log
from ntl_jax.train.journal.memory_use import explained
from ntl_jax.train.journal.profile import Profiler
from ntl_jax.train.policy import build_params, build_policy, check_checkpoint
from ntl_jax.train.prompts import build_prompts
from ntl_jax.train.stops import Terminated, noticing_signals


def run(
    config: RunConfig,
    workdir: Path,
    *,
    resume: bool = False,
    allow_changed_schedule: bool = False,
    allow_changed_data: bool = False,
    profile: tuple[int, int] | None = None,
) -> dict[str, float]:
    """Trains as the configuration says and writes everything to the run folder.

    Several processes call this alike, within `ntl_jax.processes.start.joined`; the first one writes.

    Args:
        config: the resolved configuration. ``RunConfig.validate()`` also refuses settings without effect; they are not
            refused here, since an override may have switched off what a named configuration sets.
        workdir: the run folder, created here; with ``resume``, the folder of the run to continue.
        resume: continue from the newest checkpoint that is intact, or from the beginning if there is none at all.
        allow_changed_schedule: continue even if another number of steps changes the learning-rate schedule.
        allow_changed_data: continue even if the contents of the files that the settings name have changed.
        profile: the first and the last iteration of PPO to trace into ``profile/`` of the run folder; None: none.

    Returns:
        Held-out accuracy "before" and "after" PPO.

    Raises:
        ValueError: for settings, files or reward functions that are invalid, differ from the run to continue or between
            processes, for trackers that are not installed, for a folder that another process uses, or if no checkpoint
            is intact.
        NonFiniteError: for a loss or gradient that is not finite; ``non_finite.json`` in the run folder holds the
            step's metrics and prompts.
        MismatchError: with ``divergence.on_alarm=stop``, when an alarm is on; the step is saved.
        OutOfMemoryError: naming what the memory goes to, and which setting to turn first.
        RewardError: when the reward function fails on every sample of a step, or hangs again and again;
            ``reward_errors.jsonl`` in the run folder holds every failure, including those that did not end the run.
        WorkersLostError: when a pool has lost too many workers; the stage is saved.
        Terminated: after SIGTERM, SIGINT or SIGHUP, once the step is done and saved.
    """
    console = Console(highlight=False, quiet=not is_first())
    keep_programs(config.trainer.compilation_cache)  # before the first program, by which processes agree
    with contextlib.ExitStack() as ended, _claimed(workdir, resume):  # from here on, the folder is this run's
        if is_first():
            ended.callback(_write_report, workdir)  # when it is claimed no more, however the run ends
        try:
            changed = {"changed_schedule": allow_changed_schedule, "changed_data": allow_changed_data}
            check_alike(config, resume=resume, profile=profile, **changed)
            _train(config, workdir, console, resume, allow_changed_schedule, allow_changed_data, profile)
        except Terminated:
            raise
        except (ValueError, OSError, RuntimeError) as error:
            follows = num_processes() > 1 and may_follow(error)
            if not follows and (is_first() or not is_of_another(error)):
                keep_traceback(workdir, error, process_id())
            raise
    return first_does(lambda: conclude(workdir, console))


@contextlib.contextmanager
def _claimed(workdir: Path, resume: bool) -> Iterator[None]:
    """Within this context the run folder is the first process's, and all see it."""
    with contextlib.ExitStack() as stack:
        first_does(lambda: stack.enter_context(claimed(workdir, resume=resume)))
        unseen = [number for number, is_seen in enumerate(gather(_is_seen(workdir / LOCK)), 1) if not is_seen]
        if unseen:
            raise ValueError(
                f"process {unseen[0]} of {num_processes()} does not see the run folder {workdir} of the first: name a "
                "folder on a file system that all of them share, with --workdir=DIR"
            )
        yield


def _is_seen(path: Path) -> bool:
    """Whether a file that another machine has made is here; network file systems may take seconds."""
    for _ in range(20):
        if path.exists():
            return True
        time.sleep(0.5)
    return False


def _train(
    config: RunConfig,
    workdir: Path,
    console: Console,
    resume: bool,
    changed_schedule: bool,
    changed_data: bool,
    profile: tuple[int, int] | None,
) -> None:
    """Runs the stages in a folder that is claimed; the first process writes what happens."""
    check_installed(config.tracking.backends)
    check_packages(config)
    config.validate(base=config)
    with contextlib.ExitStack() as stack, _place(workdir, config.trainer.checkpoint_folder, resume):
        saved = first_does(lambda: _saved(workdir, config.trainer.checkpoint_folder)) if resume else None
        check_range(profile, config.trainer.steps, done=_iterations_done(saved))
        if saved is not None and not changed_schedule:
            check_schedule(config, *saved)
        task, policy = build_task(config, new=not resume), build_policy(config)
        check_checkpoint(config, policy)
        prompts = build_prompts(config, task, policy.tokenizer)
        scorer, digits = build_scoring(config, task, policy, prompts.shape(config.rollout.max_tokens))
        stack.callback(scorer.close)
        check_run(config, policy, prompts)
        stack.enter_context(explained(memory_uses(config, policy, prompts)))
        scorer.try_out(*prompts.solved[0])
        divergence_log = open_divergence_log(config, workdir) if is_first() else None
        background = stack.enter_context(ThreadPoolExecutor(2))  # everything is checked: from here on XLA compiles
        drawn = background.submit(build_params, policy, seed=config.seed)
        update = supervised_update(config, policy, prompts) if config.warm_start.steps else None
        if update is not None and saved is None:
            update.compile_ahead(background)
        params = drawn.result()
        data = fingerprints(policy, params, prompts, scorer.reward)
        check_same_data(data)
        if saved is not None and not changed_data:
            check_data(config, data, saved[1])  # before anything compiles, for which a refusal would wait
        if update is not None and saved is not None and saved[0] == "warm_start":
            update.compile_ahead(background)
        engine = build_engine(config, policy, max_prompt_tokens=prompts.longest)
        stack.enter_context(contextlib.closing(engine))
        first_does(lambda: write_provenance(config, workdir))
        print_header(describe(config, policy, prompts, scorer.reward.spec, workdir), console=console)
        _warn(console, find_warnings(config, prompts, task), saved)
        evaluate = build_evaluator(config, policy, prompts, engine, scorer, digits)
        stack.enter_context(_log_files(config, workdir))
        journal = stack.enter_context(Journal(config, workdir, divergence_log)) if is_first() else Unwritten()
        profiler = stack.enter_context(Profiler(workdir, profile if is_first() else None))
        termination = stack.enter_context(noticing_signals(workdir))
        first_does(lambda: remove_tracebacks(workdir))  # of what has been mended
        newest = saved and saved[0]
        driver = Driver(
            config, workdir, journal, profiler, termination, console, evaluate=evaluate, data=data, newest=newest
        )
        if update is not None:
            # Only the parameters are kept: the stage's optimizer state would take memory during the next one.
            params = driver.train(supervised_trainer(config, update, params)).weights().params
        if config.trainer.steps:
            driver.train(ppo_trainer(config, policy, params, prompts, engine, scorer, digits, divergence_log))


def _write_report(workdir: Path) -> None:
    """Writes the run's page, which ends no run if it cannot be written."""
    if not (workdir / "metrics.jsonl").exists():
        return  # it ended before it began
    from ntl_jax.metrics.report import REPORT_FILE, write_report

    try:
        write_report([workdir], workdir / REPORT_FILE)
    except (OSError, ValueError) as error:
        warn(f"the report of {workdir} cannot be written ({error}); {command('report')} {workdir} writes it again")


@contextlib.contextmanager
def _log_files(config: RunConfig, workdir: Path) -> Iterator[None]:
    """What loggers write goes to files of the run folder, not across the progress bars; the first process's alone."""
    with contextlib.ExitStack() as stack:
        if config.ntl.debug_mode:
            stack.enter_context(log_to_file(LOGGER, workdir / "ntl_debug.log" if is_first() else Path(os.devnull)))
        for name in ("pool", "divergence"):
            path = workdir / f"{name}.log" if is_first() else Path(os.devnull)
            stack.enter_context(log_to_file(logging.getLogger(f"ntl_jax.{name}"), path))
        yield


def _warn(console: Console, warnings: Iterable[str], saved: tuple[str, dict[str, Any]] | None) -> None:
    """Prints below the header what may be a mistake."""
    for warning in warnings:
        console.print(printable(f"warning: {warning}"), style="yellow", soft_wrap=True, markup=False)
    if saved is not None and FINGERPRINTS not in saved[1]:
        console.print("the newest checkpoint has no fingerprints: the data are not checked for changes")


def _place(workdir: Path, elsewhere: str | None, resume: bool) -> contextlib.AbstractContextManager[None]:
    """Reserves the place of the checkpoints where that is not the run folder."""
    if elsewhere is None:
        return contextlib.nullcontext()
    from ntl_jax.train.checkpoints.place import reserved

    return reserved(workdir, elsewhere, resume=resume)


def _saved(workdir: Path, elsewhere: str | None) -> tuple[str, dict[str, Any]] | None:
    """Stage and meta of the newest checkpoint."""
    from ntl_jax.train.checkpoints.checkpointer import newest_meta

    return newest_meta(workdir, elsewhere)


def _iterations_done(saved: tuple[str, dict[str, Any]] | None) -> int:
    return saved[1]["iteration"] if saved is not None and saved[0] == "ppo" else 0


def conclude(workdir: Path, console: Console) -> dict[str, float]:
    """Prints the held-out metrics before and after PPO, read from ``metrics.jsonl``, and where the results are."""
    lines = [line for line in read_lines(workdir / "metrics.jsonl") if "val/accuracy" in line]
    before = next(line for line in lines if line["stage"] == lines[-1]["stage"])
    after = lines[-1]
    pairs = {name: (before.get(name), after[name]) for name in after if name.startswith("val/")}
    shown = {name: (f"{x:.4g}", f"{y:.4g}") for name, (x, y) in pairs.items() if None not in (x, y)}
    print_comparison(("before PPO", "after PPO"), shown, console=console)
    console.print(f"run folder: {printable(str(workdir))}", soft_wrap=True, markup=False)
    return {"before": before["val/accuracy"], "after": after["val/accuracy"]}

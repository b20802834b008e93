# SPDX-License-Identifier: Apache-2.0
"""Everything that a run writes to its folder and trackers while it runs."""

import contextlib
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Self

from ntl_jax.config import RunConfig, from_home
from ntl_jax.experience.scored import Scored
from ntl_jax.metrics import (
    MetricWriter,
    RewardErrorWriter,
    Tracker,
    finite,
    open_trackers,
    write_rows,
)
from ntl_jax.metrics.divergence.log import DivergenceLog
from ntl_jax.metrics.samples.log import SampleLog
from ntl_jax.train.evaluation import Evaluation, evaluation_rows
from ntl_jax.train.journal.digits import save_digit_info
from ntl_jax.train.journal.step_samples import StepSamples, logged_groups


def open_divergence_log(config: RunConfig, folder: pathlib.Path) -> DivergenceLog | None:
    """The log that the settings ask for, which is tried out; None: none.

    Args:
        config: its ``divergence`` section.
        folder: the run folder, to which a relative path belongs.

    Raises:
        ValueError: if the file cannot be written.
    """
    section = config.divergence
    if not section.enabled or not config.trainer.steps:
        return None
    path = folder / from_home(section.path)
    try:
        return DivergenceLog(path, section.max_megabytes)
    except OSError as error:
        raise ValueError(
            f"divergence.path={section.path!r}: {str(path)!r} cannot be written ({error.strerror}): give another "
            "path, or set divergence.enabled=False"
        ) from error


class Journal:
    """Writes the metric lines, samples, errors and evaluations of a run folder, and the trackers; a context manager.

    Args:
        config: the run's configuration.
        folder: the run folder.
        divergence_log: the log of tokens, which is cut back with the other files; None: there is none.
    """

    def __init__(self, config: RunConfig, folder: pathlib.Path, divergence_log: DivergenceLog | None = None):
        self._config, self._folder, self._divergence_log = config, folder, divergence_log
        warm_start = config.warm_start.steps
        # Trackers have one step axis, which runs through all stages; step 0 of PPO gets its own step.
        self._axis = {"warm_start": 0, "ppo": warm_start + 1 if warm_start else 0}
        self._open = contextlib.ExitStack()
        self._metrics = self._open.enter_context(MetricWriter(folder))
        self._samples = self._open.enter_context(SampleLog(folder))
        self._reward_errors = self._open.enter_context(RewardErrorWriter(folder))
        self._trackers: Sequence[Tracker] = open_trackers(config, folder)
        for tracker in self._trackers:
            self._open.callback(tracker.close)

    def write(self, stage: str, step: int, metrics: Mapping[str, float], samples: StepSamples | None) -> None:
        """Writes one step: its metrics, samples and, with ``ntl.save_digit_info``, its NTL record."""
        self._metrics.write(stage, step, metrics)
        for tracker in self._trackers:
            tracker.log(self._axis[stage] + step, finite(metrics))
        if samples is None:
            return
        if groups := samples.logged(self._config.trainer.logged_prompts):
            self._samples.write(stage, step, functools.partial(logged_groups, samples, groups))
        if samples.scored.ntl_info is not None and self._config.ntl.save_digit_info:
            save_digit_info(samples.scored, self._folder / "digit_info" / f"{step:06}.npz")

    def flush(self) -> None:
        """Waits until the samples so far are in their file, unless the disk hangs: a checkpoint comes after them."""
        self._samples.flush()

    def write_reward_errors(self, stage: str, step: int, scored: Scored) -> None:
        """Writes why samples of a step have no reward, including samples that were replaced."""
        for prompt, error in sorted(scored.reward_errors):  # groups arrive in any order
            self._reward_errors.write(stage, step, prompt, error)

    def write_evaluation(self, stage: str, step: int, evaluation: Evaluation) -> None:
        """Writes every held-out problem with its responses: ``evaluations/STAGE-STEP.jsonl``."""
        write_rows(self._folder / "evaluations" / f"{stage}-{step:06}.jsonl", evaluation_rows(evaluation))

    def cut_back(self, stage: str, step: int) -> None:
        """Deletes what was written after a checkpoint: the resumed run writes it again."""
        for writer in (self._metrics, self._samples, self._reward_errors):
            writer.truncate_after(stage, step)
        is_own = not from_home(self._config.divergence.path).is_absolute()
        if self._divergence_log is not None and is_own and stage == "ppo":
            self._divergence_log.cut_back(step)
        for tracker in self._trackers:
            tracker.cut_back(self._axis[stage] + step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


class Unwritten:
    """The journal of a process that trains together with the one that writes: nothing of it is kept."""

    def write(self, stage: str, step: int, metrics: Mapping[str, float], samples: StepSamples | None) -> None:
        pass

    def flush(self) -> None:
        pass

    def write_reward_errors(self, stage: str, step: int, scored: Scored) -> None:
        pass

    def write_evaluation(self, stage: str, step: int, evaluation: Evaluation) -> None:
        pass

    def cut_back(self, stage: str, step: int) -> None:
        pass

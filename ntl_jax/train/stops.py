# SPDX-License-Identifier: Apache-2.0
"""Reasons for a run to end before its last step."""

import contextlib
import dataclasses
import json
import pathlib
import signal
import threading
from collections.abc import Iterator, Sequence

from ntl_jax.experience.scored import Scored
from ntl_jax.reward_calls import RewardError


class NonFiniteError(RuntimeError):
    """A loss or gradient is not finite: the state is as before that step, and the run ends."""


class Terminated(RuntimeError):
    """The process was asked to end: the step is done, and its checkpoint is written."""


@dataclasses.dataclass
class Termination:
    """Whether the process has been asked to end."""

    requested: bool = False


@contextlib.contextmanager
def noticing_sigterm() -> Iterator[Termination]:
    """Within this context a first SIGTERM only sets ``requested``; a second one ends the process.

    Schedulers send SIGTERM some time before they kill a process. Outside the main thread, where Python handles no
    signals, SIGTERM ends the process as usual.

    Example:
        >>> with noticing_sigterm() as termination:
        ...     signal.raise_signal(signal.SIGTERM)
        ...     termination.requested
        True
    """
    termination = Termination()
    if threading.current_thread() is not threading.main_thread():
        yield termination
        return

    def notice(*_: object) -> None:
        termination.requested = True
        signal.signal(signal.SIGTERM, before)

    before = signal.signal(signal.SIGTERM, notice)
    try:
        yield termination
    finally:
        signal.signal(signal.SIGTERM, before)


def stop_if_unrewarded(stage: str, step: int, scored: Scored, folder: pathlib.Path) -> None:
    """Ends the run if no sample of a step has a reward.

    Raises:
        RewardError: with the first traceback.
    """
    if scored.valid.any():
        return
    raise RewardError(
        f"{stage} step {step}: the reward function failed on all {len(scored.outcomes)} samples, or the engine lost "
        f"them, so that there is nothing to learn from; {folder / 'reward_errors.jsonl'} holds every reason. The "
        f"first:\n{scored.outcomes[0].error}"
    )


def half_unrewarded(stage: str, step: int, scored: Scored) -> str | None:
    """What to say where half of a step's samples have no reward; None where fewer."""
    if scored.valid.mean() > 0.5:
        return None
    reason = next(outcome.error for outcome in scored.outcomes if outcome.error is not None)
    return (
        f"{stage} step {step}: {(~scored.valid).sum()} of {len(scored.valid)} samples have no reward and are left out "
        f"of the update; the first: {reason.strip().splitlines()[-1]}. reward_errors.jsonl holds every reason"
    )


def stop_if_not_finite(
    stage: str, section: str, step: int, metrics: dict[str, float], prompts: Sequence[int], folder: pathlib.Path
) -> None:
    """Ends the run if a loss or gradient is not finite; removes ``non_finite`` from the metrics.

    Args:
        stage, step: the current stage and step.
        section: section of the configuration with the stage's optimizer.
        metrics: metrics of the step, with ``non_finite`` if it made an update.
        prompts: indices of the step's prompts.
        folder: the run folder, for the dump.

    Raises:
        NonFiniteError: naming the dump.
    """
    if not metrics.pop("non_finite", 0.0):
        return
    path = folder / "non_finite.json"
    path.write_text(json.dumps({"stage": stage, "step": step, "prompts": prompts, "metrics": metrics}, indent=1))
    raise NonFiniteError(
        f"{stage} step {step}: a loss or gradient is not finite. The state before it is kept; {path} holds the "
        f"metrics and the prompts of the step. A lower {section}.optimizer.learning_rate usually helps."
    )

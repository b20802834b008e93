# SPDX-License-Identifier: Apache-2.0
"""Reasons for a run to end before its last step."""

import contextlib
import dataclasses
import json
import math
import pathlib
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence

from ntl_jax.ending import SIGNALS, leave_terminal, tell
from ntl_jax.experience.scored import Scored
from ntl_jax.processes.exchange import gather, is_first
from ntl_jax.rewards import RewardError


class NonFiniteError(RuntimeError):
    """A loss or gradient is not finite: the state is as before that step, and the run ends."""


class MismatchError(RuntimeError):
    """An alarm about sampler and trainer is on, and the settings say that it ends the run; the step is saved."""


class Terminated(RuntimeError):
    """The process was asked to end: the step is done, and its checkpoint is written.

    Args:
        message: what is saved.
        number: the signal that asked.
    """

    def __init__(self, message: str, number: signal.Signals = signal.SIGTERM):
        super().__init__(message)
        self.code = 128 + number
        """Exit code of the process."""


@dataclasses.dataclass
class Termination:
    """Which signal has asked the process to end, if any has."""

    requested: signal.Signals | None = None

    def agreed(self) -> signal.Signals | None:
        """The signal that has asked this process, or another one that trains with it; all must call this."""
        return next((number for number in gather(self.requested) if number is not None), None)


@contextlib.contextmanager
def noticing_signals(folder: pathlib.Path) -> Iterator[Termination]:
    """Within this context a first SIGINT, SIGTERM or SIGHUP only sets ``requested``; the next one ends the process.

    The system itself does that: Python would first wait for native code, such as a collective that hangs.

    Schedulers send SIGTERM some time before they kill a process; Ctrl-C sends SIGINT, a terminal that closes SIGHUP. A
    signal that is ignored, as by nohup, stays ignored. Outside the main thread, where Python handles no signals, they
    end the process as usual.

    Args:
        folder: the run folder, which is named to the user.

    Example:
        >>> with noticing_signals(pathlib.Path("runs/mine")) as termination:
        ...     signal.raise_signal(signal.SIGTERM)
        ...     termination.requested.name
        'SIGTERM'
    """
    termination = Termination()
    if threading.current_thread() is not threading.main_thread():
        yield termination
        return

    def notice(number: int, _: object) -> None:
        termination.requested = signal.Signals(number)
        if number == signal.SIGHUP:
            leave_terminal()
        for other in before:
            signal.signal(other, signal.SIG_DFL)
        tell(f"{termination.requested.name}: ends when this step is done and saved in {folder}; again: at once")

    before = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}

    for number in before:
        signal.signal(number, notice)
    try:
        yield termination
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def alarms_on(metrics: Mapping[str, float]) -> list[str]:
    """Names of the alarms about sampler and trainer that are on in a step.

    Example:
        >>> alarms_on({"alarm/engine_kl": 1.0, "actor/kl": 0.1})
        ['engine_kl']
    """
    return [name.removeprefix("alarm/") for name in metrics if name.startswith("alarm/")]


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


def untaught_numbers(stage: str, step: int, metrics: Mapping[str, float]) -> str | None:
    """What to say where Number Token Loss is a term of a stage's loss but no token of a step has a true number.

    Example:
        >>> untaught_numbers("ppo", 3, {"actor/ntl_loss": float("nan")}).partition(",")[0]
        'ppo step 3: no number token of the responses has a true value'
        >>> untaught_numbers("warm_start", 1, {"warm_start/ntl_loss": float("nan")}).partition(",")[0]
        'warm_start step 1: no token of the solutions is a number'
        >>> untaught_numbers("ppo", 3, {"actor/ntl_loss": 0.5, "actor/loss": 1.0})
    """
    if math.isnan(metrics.get("warm_start/ntl_loss", 0.0)):
        return (
            f"{stage} step {step}: no token of the solutions is a number, so that warm_start.ntl_weight has no effect"
        )
    if not math.isnan(metrics.get("actor/ntl_loss", 0.0)):
        return None
    return (
        f"{stage} step {step}: no number token of the responses has a true value, so that ntl.weight has no effect: "
        "with ntl.reward_mode=final_answer an answer must be marked or be all that the response says "
        "(answer.pattern marks others), with all_tokens responses must contain equations"
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
    if is_first():
        path.write_text(json.dumps({"stage": stage, "step": step, "prompts": prompts, "metrics": metrics}, indent=1))
    raise NonFiniteError(
        f"{stage} step {step}: a loss or gradient is not finite. The state before it is kept; {path} holds the "
        f"metrics and the prompts of the step. A lower {section}.optimizer.learning_rate usually helps."
    )

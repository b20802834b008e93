# SPDX-License-Identifier: Apache-2.0
"""Checkpoints by stage: all state that a resumed run needs to equal an uninterrupted one, and the best policy."""

import contextlib
import functools
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

from ntl_jax.metrics import STAGES
from ntl_jax.processes.exchange import first_does, is_first
from ntl_jax.records import Params
from ntl_jax.rollout.flat_trajectories import FlatTrajectories
from ntl_jax.train.checkpoints.checkpoint import (
    Checkpoint,
    DamagedError,
    MisfitError,
    Restored,
    UnusableError,
    write_checkpoint,
)
from ntl_jax.train.checkpoints.place import (
    Place,
    clean,
    finish,
    place_of,
    remove,
    set_aside,
    steps_in,
    storage_errors,
    unfinished,
    withdraw,
)
from ntl_jax.update.state import TrainState

# Orbax warns of every checkpoint that it opens to read, of what is meant to be so.
logging.getLogger("absl").setLevel(logging.ERROR)
Which = Literal["newest", "best"]
Say = Callable[[str], None]
Result = TypeVar("Result")


class Checkpointer:
    """Writes the checkpoints of one stage, each to ``stage/<step>`` of their place, and goes on from them.

    It keeps the newest checkpoints and the one with the best held-out accuracy. No other run may write there. Several
    processes that train together must all call each method, except `wait` and `close`; the first decides and renames.

    Args:
        run: the run folder.
        stage: name of the stage.
        keep_last: how many of the newest to keep.
        elsewhere: the setting ``trainer.checkpoint_folder``.
    """

    def __init__(self, run: Path, stage: str, *, keep_last: int = 2, elsewhere: str | None = None):
        self._stage, self._keep_last = stage, keep_last
        self._place = place_of(run, elsewhere)
        self._folder = self._place / stage
        first_does(lambda: clean(self._folder))
        self._background, self._commit = ThreadPoolExecutor(1), Future[None]()
        self._commit.set_result(None)

    def save(
        self,
        step: int,
        state: TrainState,
        meta: Mapping[str, object],
        held_out: Mapping[str, float],
        arrived: FlatTrajectories,
    ) -> None:
        """Writes a checkpoint atomically. Its manifest is made in the background: `wait` says when it is in its place.

        Args:
            step: steps done so far.
            state: the trainer's state.
            meta: JSON with the trainer's position and the record that `resume` compares.
            held_out: metrics of the policy's evaluation; empty without an evaluation at this step.
            arrived: samples for later steps; empty if there are none.

        Raises:
            OSError: if it cannot be written; nothing of it is left then.
        """
        self.wait()
        checkpoint = self._folder / str(step)
        part = unfinished(checkpoint)
        try:
            write_checkpoint(part, state, meta, held_out, arrived)
        except (ValueError, *storage_errors()) as error:
            if is_first():
                with contextlib.suppress(OSError):
                    remove(part)
            raise OSError(f"the checkpoint after step {step} of stage {self._stage} is not written: {error}") from error
        if is_first():
            self._commit = self._background.submit(self._put, step)

    def wait(self) -> None:
        """Until the last checkpoint is in its place.

        Raises:
            OSError: if it cannot be put there.
        """
        self._commit.result()

    def latest_step(self) -> int | None:
        return max((checkpoint.step for checkpoint in self._own()), default=None)

    def best_accuracy(self) -> float:
        """Held-out accuracy of the best checkpoint; -inf if none was evaluated."""
        checkpoints = self._own()
        return first_does(lambda: max((checkpoint.accuracy for checkpoint in checkpoints), default=float("-inf")))

    def restore(self, like: TrainState, say: Say = print) -> Restored:
        """Reads the newest checkpoint that is intact.

        Args:
            like: shapes and placement of the state. Layers may be stacked in one of them.
            say: is told of newer ones that are damaged, which are renamed, and of those without manifest.

        Raises:
            DamagedError: if none is intact.
            UnusableError: if the newest that is not damaged does not fit, or cannot be read; nothing is renamed then.
        """
        checkpoints = self._own()
        assert checkpoints, "ask latest_step() first"
        return _first_usable(checkpoints, lambda checkpoint: checkpoint.restore(like), say, aside=True)[1]

    def discard(self) -> None:
        """Renames all checkpoints, none of which is intact, so that the stage can begin again."""
        for checkpoint in self._own():
            first_does(functools.partial(set_aside, checkpoint.folder))

    def close(self) -> None:
        """Waits for the last checkpoint.

        Raises:
            OSError: as `wait`.
        """
        self._background.shutdown()
        self.wait()

    def _own(self) -> list[Checkpoint]:
        """The checkpoints of the stage as the first process finds them, once the last one is in its place."""
        self.wait()
        return first_does(lambda: _written(self._place, self._stage))

    def _put(self, step: int) -> None:
        """Gives a checkpoint its name, and deletes those that are no longer kept."""
        finish(self._folder / str(step))
        checkpoints = _written(self._place, self._stage)
        best = max(checkpoints, key=_quality)
        for checkpoint in checkpoints[self._keep_last :]:
            if checkpoint != best:
                withdraw(checkpoint.folder)


def restore_policy(
    run: Path, like: Params, which: Which = "newest", say: Say = print, *, elsewhere: str | None = None
) -> tuple[str, int, Params]:
    """A run's policy, or its moving average if kept, from the newest or the best checkpoint of the last stage.

    Args:
        run: the run folder.
        like: parameters with the policy's shapes and the wanted placement.
        which: which checkpoint. Ties, or no evaluation at all, go to the newest. If it is damaged, the next one counts.
        say: is told of checkpoints that are damaged or do not fit, and of those without manifest.
        elsewhere: the run's setting ``trainer.checkpoint_folder``.

    Returns:
        Stage, step and parameters.

    Raises:
        ValueError: if the run has no checkpoint, or none that is intact.
    """
    found = _of_run(run, elsewhere)
    if which == "best":
        found.sort(key=lambda checkpoint: (STAGES.index(checkpoint.stage), *_quality(checkpoint)), reverse=True)
    check_has_checkpoint(run, elsewhere)
    checkpoint, params = _first_usable(found, lambda checkpoint: checkpoint.restore_policy(like), say)
    return checkpoint.stage, checkpoint.step, params


def check_has_checkpoint(run: Path, elsewhere: str | None = None) -> None:
    """Raises a ValueError if the run has none yet.

    Args:
        run: the run folder.
        elsewhere: the run's setting ``trainer.checkpoint_folder``.
    """
    if not _of_run(run, elsewhere):
        raise ValueError(f"{run} has no checkpoint yet: wait for the first, or lower trainer.save_every")


def newest_meta(run: Path, elsewhere: str | None = None) -> tuple[str, dict[str, Any]] | None:
    """Stage and meta of the newest checkpoint that passes all checks except those of the arrays' contents.

    None if the run has no checkpoint at all.

    Raises:
        UnusableError: if there are checkpoints, and none of them can be used.
    """

    def read(checkpoint: Checkpoint) -> dict[str, Any]:
        checkpoint.check(without_state=True)
        return checkpoint.meta

    if not (found := _of_run(run, elsewhere)):
        return None
    checkpoint, meta = _first_usable(found, read, lambda _: None)  # whoever restores the state says so
    return checkpoint.stage, meta


def _first_usable(
    checkpoints: Iterable[Checkpoint], read: Callable[[Checkpoint], Result], say: Say, *, aside: bool = False
) -> tuple[Checkpoint, Result]:
    """The first checkpoint that can be read, and what is read of it.

    With ``aside`` those before it are renamed, which must be damaged: the others would be in the way of new ones.
    """
    unusable: list[tuple[Checkpoint, UnusableError]] = []
    for checkpoint in checkpoints:
        try:
            result = read(checkpoint)
        except UnusableError as error:
            unusable.append((checkpoint, error))
            if aside and not isinstance(error, DamagedError):
                break
            continue
        for other, error in unusable:
            renamed = (
                f"; the damaged one is renamed to {first_does(functools.partial(set_aside, other.folder))}"
                if aside
                else ""
            )
            say(f"{other.folder} {error}: the one after step {checkpoint.step} of {checkpoint.stage} is used{renamed}")
        if not checkpoint.is_sealed:
            say(f"{checkpoint.folder} has no manifest, since an older version wrote it: its files are not verified")
        return checkpoint, result
    for other, error in unusable:
        if isinstance(error, MisfitError):
            raise MisfitError(
                f"{other.folder} {error}: resume with the model, tokenizer and optimizer that the run began with, "
                "or start a new run"
            ) from error
        if not isinstance(error, DamagedError):
            raise UnusableError(f"{other.folder} {error}: make it readable, or move it away") from error
    reasons = "; ".join(f"{other.folder} {error}" for other, error in unusable)
    raise DamagedError(f"no checkpoint is intact: {reasons}: restore the files from a copy, or start a new run")


def _of_run(run: Path, elsewhere: str | None) -> list[Checkpoint]:
    """All checkpoints of a run, newest first.

    Raises:
        ValueError: if their place cannot be read.
    """
    place = place_of(run, elsewhere)
    try:
        return [checkpoint for stage in reversed(STAGES) for checkpoint in _written(place, stage)]
    except OSError as error:
        raise UnusableError(f"the checkpoints in {place} cannot be read: {error}") from error


def _written(place: Place, stage: str) -> list[Checkpoint]:
    """The checkpoints of a stage, newest first."""
    return [Checkpoint(stage, step, place / stage / str(step)) for step in steps_in(place / stage)]


def _quality(checkpoint: Checkpoint) -> tuple[float, int]:
    return checkpoint.accuracy, checkpoint.step

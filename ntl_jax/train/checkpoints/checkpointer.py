# SPDX-License-Identifier: Apache-2.0
"""Checkpoints by stage: all state that a resumed run needs to equal an uninterrupted one, and the best policy."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp

from ntl_jax.metrics import STAGES
from ntl_jax.records import Params
from ntl_jax.rollout.flat_trajectories import FlatTrajectories
from ntl_jax.train.checkpoints.stacking import restore_as
from ntl_jax.update.state import TrainState

# Orbax warns of every checkpoint that it opens to read, of what is meant to be so.
logging.getLogger("absl").setLevel(logging.ERROR)
FOLDER = "checkpoints"
"""Subfolder of a run folder."""
Which = Literal["newest", "best"]


class Checkpointer:
    """The checkpoints of one stage, under ``run/checkpoints/stage/<step>``.

    It keeps the newest checkpoints and the one with the best held-out accuracy.

    Args:
        run: the run folder.
        stage: name of the stage.
        keep_last: how many of the newest to keep.
        read_only: only read; safe while the run continues.
    """

    def __init__(self, run: Path, stage: str, *, keep_last: int = 2, read_only: bool = False):
        policies = ocp.checkpoint_managers
        best = policies.BestN(get_metric_fn=_accuracy, n=1, keep_checkpoints_without_metrics=False)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(keep_last), best]),
            best_fn=_accuracy,
            create=not read_only,
            read_only=read_only,
            cleanup_tmp_directories=not read_only,  # partial writes of a killed process
            enable_async_checkpointing=False,
        )
        self._folder = (run / FOLDER / stage).absolute()
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(
        self,
        step: int,
        state: TrainState,
        meta: Mapping[str, object],
        held_out: Mapping[str, float],
        arrived: FlatTrajectories,
    ) -> None:
        """Writes a checkpoint atomically.

        Args:
            step: steps done so far.
            state: the trainer's state.
            meta: JSON with the trainer's position and the record that `resume` compares.
            held_out: metrics of the policy's evaluation; empty without an evaluation at this step.
            arrived: samples for later steps; empty if there are none.
        """
        items: dict[str, Any] = {"state": ocp.args.StandardSave(state), "meta": ocp.args.JsonSave(dict(meta))}
        if arrived:
            # Orbax refuses empty arrays, which are all that lost samples have: each gets a row that is dropped again.
            rows = {
                name: np.concatenate([array, np.zeros_like(array, shape=(1, *array.shape[1:]))])
                for name, array in arrived.items()
            }
            items["arrived"] = ocp.args.StandardSave(rows)
        arguments = ocp.args.Composite(**items)
        self._manager.save(step, args=arguments, metrics=dict(held_out), force=True)
        self._manager.wait_until_finished()

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def step_of(self, which: Which) -> int | None:
        """Step of the newest or the best checkpoint. Ties, or no evaluation at all, go to the newest."""
        return self._manager.best_step() if which == "best" else self._manager.latest_step()

    def best_accuracy(self) -> float:
        """Held-out accuracy of the best checkpoint; -inf if none was evaluated."""
        step = self._manager.best_step()
        return float("-inf") if step is None else _accuracy(self._manager.metrics(step))

    def restore(self, like: TrainState) -> tuple[int, TrainState, dict[str, Any], dict[str, float], FlatTrajectories]:
        """The newest checkpoint: step, the state placed like ``like``, meta, held-out metrics, samples for later steps.

        Raises:
            ValueError: if its arrays differ in shape from those of ``like``. Layers may be stacked in one of them.
        """
        step = self._manager.latest_step()
        assert step is not None, "ask latest_step() first"

        def read(abstract: TrainState) -> TrainState:
            arguments = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
            return self._manager.restore(step, args=arguments)["state"]

        try:
            state = restore_as(jax.tree.map(ocp.utils.to_shape_dtype_struct, like), self._stored_tree(step), read)
        except ValueError as error:
            raise ValueError(
                f"the state of {self._folder / str(step)} does not fit this run's policy and optimizer: resume with "
                f"the model, tokenizer and optimizer that the run began with, or start a new run. {error}"
            ) from error
        return step, state, self.meta(step), dict(self._manager.metrics(step) or {}), self._arrived(step)

    def _arrived(self, step: int) -> FlatTrajectories:
        if not (self._folder / str(step) / "arrived").exists():
            return {}
        arguments = ocp.args.Composite(arrived=ocp.args.StandardRestore())
        arrays = self._manager.restore(step, args=arguments)["arrived"]
        return {name: np.asarray(array)[:-1] for name, array in arrays.items()}

    def meta(self, step: int) -> dict[str, Any]:
        """The metadata saved with the state."""
        return self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]

    def restore_policy(self, step: int, like: Params) -> Params:
        """The policy's moving average if kept, else its parameters, placed like ``like``."""
        stored = self._stored_tree(step)["models"]["policy"]
        name = "params" if stored["average"] is None else "average"

        def read(params: Params) -> Params:
            item = {"models": {"policy": {name: params}}}
            arguments = ocp.args.PyTreeRestore(
                item=item, restore_args=ocp.checkpoint_utils.construct_restore_args(item), partial_restore=True
            )
            with ocp.PyTreeCheckpointer() as checkpointer:
                return checkpointer.restore(self._state_folder(step), args=arguments)["models"]["policy"][name]

        return restore_as(jax.tree.map(ocp.utils.to_shape_dtype_struct, like), stored[name], read)

    def close(self) -> None:
        self._manager.close()

    def _state_folder(self, step: int) -> Path:
        return self._folder / str(step) / "state"

    def _stored_tree(self, step: int) -> dict[str, Any]:
        """The stored state with metadata in place of arrays."""
        with ocp.PyTreeCheckpointer() as checkpointer:
            return checkpointer.metadata(self._state_folder(step)).item_metadata.tree


def restore_policy(run: Path, like: Params, which: Which = "newest") -> tuple[str, int, Params]:
    """A run's policy, or its moving average if kept, from the newest or the best checkpoint of the last stage.

    Args:
        run: the run folder.
        like: parameters with the policy's shapes and the wanted placement.
        which: which checkpoint.

    Returns:
        Stage, step and parameters.

    Raises:
        ValueError: if the run has no checkpoint.
    """
    for stage, checkpoints in _stages(run):
        step = checkpoints.step_of(which)
        if step is not None:
            return stage, step, checkpoints.restore_policy(step, like)
    raise ValueError(f"{run} has no checkpoint yet: wait for the first, or lower trainer.save_every")


def newest_meta(run: Path) -> tuple[str, dict[str, Any]] | None:
    """Stage and meta of a run's newest checkpoint; None if there is none yet."""
    for stage, checkpoints in _stages(run):
        if (step := checkpoints.latest_step()) is not None:
            return stage, checkpoints.meta(step)
    return None


def _stages(run: Path) -> Iterator[tuple[str, Checkpointer]]:
    """Checkpointers of the stages that have a folder, last stage first."""
    for stage in reversed(STAGES):
        if (run / FOLDER / stage).is_dir():
            with contextlib.closing(Checkpointer(run, stage, read_only=True)) as checkpoints:
                yield stage, checkpoints


def _accuracy(held_out: Mapping[str, float] | None) -> float:
    return (held_out or {}).get("val/accuracy", float("-inf"))

# SPDX-License-Identifier: Apache-2.0
"""Checkpoints by stage: everything that a resumed run needs to equal the uninterrupted one, and the best policy."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import orbax.checkpoint as ocp

from ntl_jax.metrics import STAGES
from ntl_jax.records import Params
from ntl_jax.update.state import TrainState

FOLDER = "checkpoints"
"""Of a run folder."""
Which = Literal["newest", "best"]


class Checkpointer:
    """The checkpoints of one stage, under ``run/checkpoints/stage/<step>``.

    The newest ones are kept, and the one whose held-out accuracy is the best.

    Args:
        run: the run folder.
        stage: its name.
        keep_last: how many of the newest.
        read_only: only looks, also while the run goes on.
    """

    def __init__(self, run: Path, stage: str, *, keep_last: int = 2, read_only: bool = False):
        policies = ocp.checkpoint_managers
        best = policies.BestN(get_metric_fn=_accuracy, n=1, keep_checkpoints_without_metrics=False)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(keep_last), best]),
            best_fn=_accuracy,
            create=not read_only,
            read_only=read_only,
            cleanup_tmp_directories=not read_only,  # what a kill cut short
            enable_async_checkpointing=False,
        )
        self._folder = (run / FOLDER / stage).absolute()
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(self, step: int, state: TrainState, meta: Mapping[str, object], held_out: Mapping[str, float]) -> None:
        """Writes a checkpoint, which is there whole or not at all.

        Args:
            step: done so far.
            state: of the trainer.
            meta: JSON: the trainer's position, and the record that `resume` compares.
            held_out: metrics of the policy's evaluation; empty where there was none at this step.
        """
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(dict(meta)))
        self._manager.save(step, args=arguments, metrics=dict(held_out), force=True)
        self._manager.wait_until_finished()

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def step_of(self, which: Which) -> int | None:
        """The newest checkpoint, or the best: the newest of the best ones, where none was evaluated of all."""
        return self._manager.best_step() if which == "best" else self._manager.latest_step()

    def best_accuracy(self) -> float:
        """Held-out accuracy of the best checkpoint; -inf where none was evaluated."""
        step = self._manager.best_step()
        return float("-inf") if step is None else _accuracy(self._manager.metrics(step))

    def restore(self, like: TrainState) -> tuple[int, TrainState, dict[str, Any], dict[str, float]]:
        """The newest checkpoint: its step, the state placed like ``like``, its meta, its held-out metrics.

        Raises:
            ValueError: its arrays have other shapes than those of ``like``.
        """
        step = self._manager.latest_step()
        assert step is not None, "ask latest_step() first"
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        arguments = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore())
        try:
            restored = self._manager.restore(step, args=arguments)
        except ValueError as error:
            raise ValueError(
                f"the state of {self._folder / str(step)} does not fit this run's policy and optimizer: resume with "
                f"the model, tokenizer and optimizer that the run began with, or begin a new run. {error}"
            ) from error
        return step, restored["state"], restored["meta"], dict(self._manager.metrics(step) or {})

    def meta(self, step: int) -> dict[str, Any]:
        """The metadata saved with the state."""
        return self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]

    def restore_policy(self, step: int, like: Params) -> Params:
        """What the policy had come to: its average where one is kept, else its parameters, placed like ``like``."""
        params, folder = jax.tree.map(ocp.utils.to_shape_dtype_struct, like), self._folder / str(step) / "state"
        with ocp.PyTreeCheckpointer() as checkpointer:
            stored = checkpointer.metadata(folder).item_metadata.tree["models"]["policy"]
            name = "params" if stored["average"] is None else "average"
            item = {"models": {"policy": {name: params}}}
            arguments = ocp.args.PyTreeRestore(
                item=item, restore_args=ocp.checkpoint_utils.construct_restore_args(item), partial_restore=True
            )
            return checkpointer.restore(folder, args=arguments)["models"]["policy"][name]

    def close(self) -> None:
        self._manager.close()


def restore_policy(run: Path, like: Params, which: Which = "newest") -> tuple[str, int, Params]:
    """A run's policy, or its average where one is kept: of the newest checkpoint, or of the best of its last stage.

    Args:
        run: the run folder.
        like: parameters of the policy's shapes, for where they are to lie.
        which: of the checkpoints.

    Returns:
        Stage, step and parameters.

    Raises:
        ValueError: the run has no checkpoint.
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
    """The checkpoints of the stages that have a folder, last stage first."""
    for stage in reversed(STAGES):
        if (run / FOLDER / stage).is_dir():
            with contextlib.closing(Checkpointer(run, stage, read_only=True)) as checkpoints:
                yield stage, checkpoints


def _accuracy(held_out: Mapping[str, float] | None) -> float:
    return (held_out or {}).get("val/accuracy", float("-inf"))

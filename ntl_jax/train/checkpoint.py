# SPDX-License-Identifier: Apache-2.0
"""Checkpoints by stage: everything that a resumed run needs to equal the uninterrupted one."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from ntl_jax.train.state import TrainState

KEEP = 2  # the newest, and the one before should the newest have been cut short


class Checkpointer:
    """The checkpoints of one stage, under ``folder/stage/<step>``.

    Args:
        folder: the run's ``checkpoints``.
        stage: its name.
    """

    def __init__(self, folder: Path, stage: str):
        options = ocp.CheckpointManagerOptions(max_to_keep=KEEP, create=True, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager((folder / stage).absolute(), options=options)

    def save(self, step: int, state: TrainState, meta: dict[str, Any]) -> None:
        """Writes the state and ``meta`` (JSON: cursor, versions); a checkpoint is there whole or not at all."""
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta))
        self._manager.save(step, args=arguments, force=True)
        self._manager.wait_until_finished()

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def restore(self, like: TrainState) -> tuple[int, TrainState, dict[str, Any]]:
        """The newest checkpoint: its step, the state placed like ``like``, and its meta."""
        step = self._manager.latest_step()
        assert step is not None, "ask latest_step() first"
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        arguments = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore())
        restored = self._manager.restore(step, args=arguments)
        return step, restored["state"], restored["meta"]

    def close(self) -> None:
        self._manager.close()

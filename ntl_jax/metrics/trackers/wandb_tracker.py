# SPDX-License-Identifier: Apache-2.0
"""Sends metrics to Weights & Biases; ``tracking.wandb_mode=offline`` keeps them in ``wandb/`` of the run folder."""

import dataclasses
import pathlib
import secrets
from collections.abc import Mapping

import wandb  # pyright: ignore[reportMissingImports]

from ntl_jax.config import RunConfig
from ntl_jax.metrics.atomic_files import write_whole
from ntl_jax.metrics.trackers.tracker import Tracker

ID_FILE = "wandb_id"
"""File in the run folder that holds the id of the W&B run, for resuming."""


class WandbTracker(Tracker):
    """One run of a project.

    Args:
        config: the run's configuration; its ``tracking`` section says where to send metrics.
        folder: the run folder.
    """

    def __init__(self, config: RunConfig, folder: pathlib.Path) -> None:
        tracking, id_file = config.tracking, folder / ID_FILE
        if not id_file.exists():
            write_whole(id_file, secrets.token_hex(4))
        self._run = wandb.init(
            project=tracking.project,
            name=tracking.run_name or folder.name,
            id=id_file.read_text(encoding="utf-8"),
            resume="allow",
            mode=tracking.wandb_mode,
            dir=str(folder),
            config=dataclasses.asdict(config),
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def cut_back(self, step: int) -> None:
        """Nothing: W&B leaves out steps that it has."""

    def close(self) -> None:
        self._run.finish()

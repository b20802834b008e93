# SPDX-License-Identifier: Apache-2.0
"""MetricSums for Weights & Biases. With ``tracking.wandb_mode=offline`` they stay in ``wandb/`` of the run folder."""

import dataclasses
import pathlib
import secrets
from collections.abc import Mapping

import wandb  # pyright: ignore[reportMissingImports]

from ntl_jax.config import RunConfig
from ntl_jax.metrics.atomic_files import write_whole
from ntl_jax.metrics.trackers.tracker import Tracker

ID_FILE = "wandb_id"
"""In the run folder: which of the project's runs a resumed one goes on with."""


class WandbTracker(Tracker):
    """One run of a project.

    Args:
        config: of the run; its ``tracking`` section says where to.
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

# SPDX-License-Identifier: Apache-2.0
"""Destinations of metrics in addition to ``metrics.jsonl``: the interface of a tracker, and the configured trackers.

Each backend is imported by only one file, and only if it is configured.
"""

import abc
import importlib.util
import math
import pathlib
from collections.abc import Mapping, Sequence

from ntl_jax.config import RunConfig


class Tracker(abc.ABC):
    """Sends metrics to one backend."""

    @abc.abstractmethod
    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Sends one step's metrics.

        Args:
            step: counted through all stages of the run.
            metrics: finite values by name.
        """

    @abc.abstractmethod
    def cut_back(self, step: int) -> None:
        """Prepares to resume: metrics after this step will be sent again, with the same values."""

    @abc.abstractmethod
    def close(self) -> None:
        """Sends pending metrics. The tracker cannot be used afterwards."""


def check_installed(backends: Sequence[str]) -> None:
    """Checks, before a run starts, that the backends are installed.

    Raises:
        ValueError: naming the missing packages and the extra that installs them.

    Example:
        >>> check_installed(["jax", "no_tracker"])
        Traceback (most recent call last):
        ...
        ValueError: tracking.backends needs no_tracker, which is not installed: pip install 'ntl_jax[tracking]'
    """
    if missing := [name for name in backends if importlib.util.find_spec(name) is None]:
        raise ValueError(
            f"tracking.backends needs {', '.join(missing)}, which is not installed: pip install 'ntl_jax[tracking]'"
        )


def open_trackers(config: RunConfig, folder: pathlib.Path) -> list[Tracker]:
    """One tracker for each of ``config.tracking.backends``; a tracked run folder continues its earlier tracking.

    Args:
        config: the run's configuration, which is sent too.
        folder: the run folder.
    """
    return [_open(backend, config, folder) for backend in config.tracking.backends]


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics with finite values; backends cannot draw others.

    Example:
        >>> finite({"ntl/loss": float("nan"), "val/accuracy": 0.5})
        {'val/accuracy': 0.5}
    """
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def _open(backend: str, config: RunConfig, folder: pathlib.Path) -> Tracker:
    match backend:
        case "tensorboard":
            from ntl_jax.metrics.trackers.tensorboard_tracker import TensorBoardTracker

            return TensorBoardTracker(folder)
        case "wandb":
            from ntl_jax.metrics.trackers.wandb_tracker import WandbTracker

            return WandbTracker(config, folder)
        case "mlflow":
            from ntl_jax.metrics.trackers.mlflow_tracker import MlflowTracker

            return MlflowTracker(config, folder)
    raise AssertionError(f"{backend!r} is not a backend")

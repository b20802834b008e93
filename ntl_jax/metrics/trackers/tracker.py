# SPDX-License-Identifier: Apache-2.0
"""Where metrics go beside ``metrics.jsonl``: the contract of a tracker, and the ones that a run asked for.

Each backend is imported by the one file that owns it, and only if it is asked for.
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
            step: counted on through all stages of the run.
            metrics: finite, by name.
        """

    @abc.abstractmethod
    def cut_back(self, step: int) -> None:
        """What was sent past this step is sent again, with the same values: a run resumes."""

    @abc.abstractmethod
    def close(self) -> None:
        """Sends what is left. The tracker cannot be used afterwards."""


def check_installed(backends: Sequence[str]) -> None:
    """Raises before a run has cost anything.

    Raises:
        ValueError: naming the packages that are missing, and the extra that brings them.

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
    """One tracker for each of ``config.tracking.backends``; a run folder that has been tracked goes on where it was.

    Args:
        config: of the run; sent along.
        folder: the run folder.
    """
    return [_open(backend, config, folder) for backend in config.tracking.backends]


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Without the metrics that have no value, which no backend can draw.

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
    raise AssertionError(f"{backend!r} is no backend")

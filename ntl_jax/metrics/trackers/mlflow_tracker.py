# SPDX-License-Identifier: Apache-2.0
"""Sends metrics to MLflow: one run of an experiment, on a server or in a file."""

import pathlib
import time
from collections.abc import Mapping

from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]
from mlflow.entities import Metric, Param  # pyright: ignore[reportMissingImports]

from ntl_jax.config import RunConfig, flatten
from ntl_jax.metrics.atomic_files import write_whole
from ntl_jax.metrics.trackers.tracker import Tracker

ID_FILE = "mlflow_id"
"""File in the run folder that holds the id of the MLflow run, for resuming."""
MOST_PARAMS = 100
"""The server's limit of parameters per call."""


class MlflowTracker(Tracker):
    """One run of an experiment. Steps of a metric that MLflow already has when it is opened are not sent again.

    Args:
        config: the run's configuration; its ``tracking`` section says where to send metrics.
        folder: the run folder.
    """

    def __init__(self, config: RunConfig, folder: pathlib.Path) -> None:
        self._client, id_file = MlflowClient(config.tracking.mlflow_uri), folder / ID_FILE
        self._last_steps: dict[str, int] = {}
        if id_file.exists():
            self._run_id = id_file.read_text(encoding="utf-8")
            self._client.update_run(self._run_id, status="RUNNING")
            for name in self._client.get_run(self._run_id).data.metrics:
                points = self._client.get_metric_history(self._run_id, name)
                self._last_steps[name] = max(point.step for point in points)
            return
        name = config.tracking.run_name or folder.name
        self._run_id = self._client.create_run(self._experiment(config.tracking.project), run_name=name).info.run_id
        params = [Param(key, str(value)) for key, value in flatten(config).items()]
        for first in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(self._run_id, params=params[first : first + MOST_PARAMS])
        write_whole(id_file, self._run_id)

    def _experiment(self, name: str) -> str:
        experiment = self._client.get_experiment_by_name(name)
        return self._client.create_experiment(name) if experiment is None else experiment.experiment_id

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        # MLflow takes no @ in a name.
        points = [Metric(name.replace("@", "_at_"), value, now, step) for name, value in metrics.items()]
        new = [metric for metric in points if step > self._last_steps.get(metric.key, -1)]
        self._client.log_batch(self._run_id, metrics=new)

    def cut_back(self, step: int) -> None:
        """Does nothing: MLflow cannot delete points, and steps that it already has are not sent again."""

    def close(self) -> None:
        self._client.set_terminated(self._run_id)

# SPDX-License-Identifier: Apache-2.0
"""Real trackers, read back with their own readers; those that are not installed are skipped."""

import contextlib
import dataclasses
import importlib.util
import json
from typing import Any

import pytest

from ntl_jax.config import RunConfig, TrackingSection
from ntl_jax.metrics import check_installed, open_trackers

PACKAGES = {"tensorboard", "wandb", "mlflow"}

pytestmark = pytest.mark.filterwarnings("default")  # the packages' own warnings are not ours to mend


def track(folder, section, steps, *, resumed_at: int | None = None):
    (tracker,) = open_trackers(RunConfig(tracking=section), folder)
    with contextlib.closing(tracker):
        if resumed_at is not None:
            tracker.cut_back(resumed_at)
        for step in steps:
            tracker.log(step, {"val/accuracy": step / 10, "val/pass@4": 0.5})


def test_a_missing_package_is_named_with_the_extra_that_brings_it():
    for name in PACKAGES:
        if importlib.util.find_spec(name) is None:
            with pytest.raises(ValueError, match=rf"{name}, which is not installed: pip install 'ntl_jax\[tracking\]'"):
                check_installed([name])
        else:
            check_installed([name])


def test_no_backend_means_no_tracker(tmp_path):
    assert open_trackers(RunConfig(), tmp_path) == [] and not list(tmp_path.iterdir())


def test_tensorboard_shows_each_step_of_a_resumed_run_once(tmp_path):
    accumulator: Any = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    section = TrackingSection(("tensorboard",))
    track(tmp_path, section, range(1, 6))
    track(tmp_path, section, range(4, 8), resumed_at=3)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    scalars = events.Scalars("val/accuracy")
    assert [event.step for event in scalars] == [1, 2, 3, 4, 5, 6, 7]
    assert [event.value for event in scalars] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])


@pytest.mark.slow
def test_wandb_writes_a_run_offline_and_goes_on_with_it(tmp_path):
    pytest.importorskip("wandb")
    section = TrackingSection(("wandb",), wandb_mode="offline")
    track(tmp_path, section, [1, 2])
    run_id = (tmp_path / "wandb_id").read_text()
    track(tmp_path, section, [2, 3], resumed_at=1)
    files = list((tmp_path / "wandb").glob(f"offline-run-*-{run_id}/*.wandb"))
    assert files and all(file.stat().st_size > 0 for file in files)


@pytest.mark.slow
def test_mlflow_keeps_settings_and_metrics_of_one_run(tmp_path):
    mlflow: Any = pytest.importorskip("mlflow")
    section = TrackingSection(("mlflow",), project="numbers", mlflow_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    track(tmp_path, section, [1, 2])
    track(tmp_path, section, [2, 3], resumed_at=1)
    track(tmp_path, section, [2, 3, 4], resumed_at=1)
    client = mlflow.MlflowClient(section.mlflow_uri)
    experiment = client.get_experiment_by_name("numbers")
    (run,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(run.info.run_id, "val/accuracy")
    assert [(point.step, point.value) for point in history] == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    assert run.data.metrics["val/pass_at_4"] == 0.5
    assert run.data.params["tracking.project"] == "numbers"
    assert json.loads(run.data.params["seed"]) == dataclasses.asdict(RunConfig())["seed"]
    assert run.info.status == "FINISHED"

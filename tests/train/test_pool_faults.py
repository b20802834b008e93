# SPDX-License-Identifier: Apache-2.0
"""Whole runs with a pool of two JAX workers in which one thing goes wrong: they equal the run that was left alone."""

import dataclasses
import json
import pathlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from launch import eval as evaluation
from ntl_jax.config import PoolSection, RunConfig
from ntl_jax.metrics import read_lines
from ntl_jax.rollout.engine import WorkersLostError
from ntl_jax.train import engines, run
from tests.rollout.pool.faulty_engine import FOLDER, worker_engine
from tools import compare_runs

pytestmark = [pytest.mark.pool, pytest.mark.filterwarnings("ignore:.*fork.*:RuntimeWarning")]

SILENT_S = 10.0
"""After so long a worker is given up where one falls silent; starting one takes less, unless the machine is busy."""
NODE: dict[str, Any] = {"num_cpus": 2, "object_store_memory": 200 * 2**20}
SYSTEM = {
    "max_direct_call_object_size": 0,  # results lie in the object store, however small
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 2,
}


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(folder))
        patch.setattr(engines, "worker_engine", worker_engine)
        yield folder


@pytest.fixture(scope="module")
def cluster(faults):
    """One node without room for workers, and one with room for two."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args=NODE | {"num_cpus": 0, "include_dashboard": False, "_system_config": SYSTEM},
    )
    cluster.add_node(**NODE)  # pyright: ignore[reportArgumentType]
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def config(tiny, cluster) -> Callable[..., RunConfig]:
    """The tiny run with a pool, at a staleness and with other settings of the pool."""

    def of(staleness: int, **pool: Any) -> RunConfig:
        section = PoolSection(workers=2, address=cluster.address, **pool)
        rollout = dataclasses.replace(
            tiny.rollout, engine="pool", slots=4, prompts_per_step=6, pool=section, max_staleness=staleness
        )
        return dataclasses.replace(
            tiny,
            rollout=rollout,
            algorithm=dataclasses.replace(tiny.algorithm, minibatches=2),
            trainer=dataclasses.replace(tiny.trainer, steps=6, eval_every=3, save_every=3),
        )

    return of


@pytest.fixture(scope="module")
def unharmed(config, tmp_path_factory) -> Callable[[int], pathlib.Path]:
    """The folder of a run that was left alone; in lockstep, of one whose engine is in this process."""
    folders = {}

    def of(staleness: int) -> pathlib.Path:
        if staleness not in folders:
            chosen = config(staleness)
            if staleness == 0:
                chosen = dataclasses.replace(chosen, rollout=dataclasses.replace(chosen.rollout, engine="jax"))
            folders[staleness] = tmp_path_factory.mktemp(f"unharmed-{staleness}")
            run(chosen, folders[staleness])
        return folders[staleness]

    return of


def equal(first: pathlib.Path, second: pathlib.Path) -> bool:
    return compare_runs.main([str(first), str(second)]) == 0


def deaths(folder: pathlib.Path) -> int:
    """Workers that were replaced, as the last step reports."""
    return int(read_lines(folder / "metrics.jsonl")[-1]["pool/restarts"])


@pytest.mark.parametrize("staleness", [0, 1])
def test_a_run_that_is_left_alone_gives_the_bits_of_one_process(config, unharmed, tmp_path, staleness):
    """With a lag, those of a second run."""
    run(config(staleness), tmp_path / "run")
    assert equal(tmp_path / "run", unharmed(staleness)) and deaths(tmp_path / "run") == 0


@pytest.mark.parametrize(
    ("staleness", "planted"),
    [
        (0, ["sample-3-exit"]),
        (1, ["sample-7-kill"]),
        (0, ["sample-5-stop"]),
        (1, ["update-2-kill"]),
        (0, ["update-3-exit"]),
        (1, ["update-2-hang"]),
        (1, ["sample-4-raise"]),
        (0, ["sample-1-kill", "sample-2-kill"]),
        (1, ["update-3-kill", "sample-9-exit"]),
    ],
    ids=str,
)
def test_a_run_whose_workers_fail_equals_the_one_that_was_left_alone(
    config, unharmed, faults, tmp_path, staleness, planted
):
    """Two faults at most: a request that happened to be on three dying workers, on the last one alone, is given up."""
    for name in planted:
        (faults / name).touch()
    silent = {"timeout_s": SILENT_S, "max_restarts": 100} if planted[0].endswith(("stop", "hang")) else {}
    run(config(staleness, **silent), tmp_path / "run")
    assert not list(faults.iterdir()), "a fault did not happen"
    assert deaths(tmp_path / "run") >= len(planted)
    assert equal(tmp_path / "run", unharmed(staleness))
    assert (tmp_path / "run" / "pool.log").read_text().count("worker ") >= len(planted)


def after_line(folder: pathlib.Path, count: int, call: Callable[[], Any]) -> threading.Thread:
    """Calls once a run has written so many metrics."""

    def wait() -> None:
        metrics = folder / "metrics.jsonl"
        while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= count):
            time.sleep(0.01)
        call()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_run_goes_on_when_a_node_with_a_worker_and_its_results_is_removed(config, unharmed, cluster, tmp_path):
    """Workers are spread over both nodes, and there is room for both on the one that stays."""
    node = cluster.add_node(**NODE)
    thread = after_line(tmp_path / "run", 6, lambda: cluster.remove_node(node, allow_graceful=False))
    run(config(1), tmp_path / "run")
    thread.join()
    assert deaths(tmp_path / "run") >= 1
    assert equal(tmp_path / "run", unharmed(1))


def test_below_its_fewest_workers_a_run_stops_with_every_cause_and_is_resumed_exactly(
    config, unharmed, faults, tmp_path
):
    (faults / "sample-8-exit").touch()
    with pytest.raises(WorkersLostError) as error:
        run(config(0, min_workers=2, max_restarts=0), tmp_path / "run")
    message = str(error.value)
    assert "--resume goes on. 1 of 2 workers are left, rollout.pool.min_workers=2" in message
    assert "worker process has died" in message and "last words" in message
    saved = [int(path.name) for path in (tmp_path / "run" / "checkpoints" / "ppo").iterdir() if path.name.isdigit()]
    assert f"stage ppo is saved after step {max(saved)};" in message
    run(config(0, min_workers=2, max_restarts=0), tmp_path / "run", resume=True)
    assert equal(tmp_path / "run", unharmed(0))


def test_the_command_that_evaluates_a_run_samples_with_its_pool(unharmed, tmp_path):
    """What the run itself found; the number of rows that run together may change last bits."""
    folder = unharmed(1)
    assert evaluation.main([str(folder), "--engine=pool", f"--output={tmp_path / 'found'}"]) == 0
    found = json.loads((tmp_path / "found" / "metrics.json").read_text())["metrics"]
    last = read_lines(folder / "metrics.jsonl")[-1]
    assert found == pytest.approx({name: last[name] for name in found}, abs=1e-4)

# SPDX-License-Identifier: Apache-2.0
"""From a configuration to an engine: what a pool is made of, and what its workers make in their processes."""

import dataclasses
import pickle
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.config import PoolSection, RolloutSection, RunConfig, VllmSection
from ntl_jax.models.sharding import free_bytes
from ntl_jax.records import Prompt, Request, Sampling, Version, Weights
from ntl_jax.rollout import JaxEngine
from ntl_jax.rollout.pool import pool as pools
from ntl_jax.rollout.pool.crew import Placement
from ntl_jax.rollout.pool.dispatcher import Limits
from ntl_jax.rollout.pool.worker import Identity
from ntl_jax.train.engines import (
    EngineParts,
    _environment,
    build_engine,
    check_packages,
    fit_slots,
    fitting_cache_bytes,
    worker_engine,
)
from ntl_jax.train.policy import Policy

WORKER = Identity.of_this_process()._replace(cores=99)


def with_rollout(config: RunConfig, **fields: Any) -> RunConfig:
    return dataclasses.replace(config, rollout=dataclasses.replace(config.rollout, **fields))


@pytest.fixture
def asked(setup, monkeypatch):
    """What a pool is asked for under a configuration; none is started."""

    def of(config: RunConfig, policy: Policy | None = None) -> dict[str, Any]:
        calls = []

        def note(factory, workers, **rest) -> types.SimpleNamespace:
            calls.append((factory, workers, rest))
            return types.SimpleNamespace(workers={0: WORKER})

        monkeypatch.setattr(pools, "RayPool", note)
        build_engine(config, policy or setup.policy, max_prompt_tokens=setup.prompts.longest)
        ((factory, workers, rest),) = calls
        return {"factory": factory, "workers": workers} | rest

    return of


def test_a_worker_with_other_cores_than_the_trainer_is_told_of_and_others_are_not(setup, asked, capsys):
    asked(with_rollout(setup.config, engine="pool"))
    cores = Identity.of_this_process().cores
    said = capsys.readouterr().err
    assert f"warning: cores: {WORKER.cores} in workers, {cores} in the trainer: samples may differ" in said
    assert "xla_flags" not in said


def test_a_run_needs_ray_for_a_pool_alone(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_packages(RunConfig())
    with pytest.raises(ValueError, match=r"the package ray, which is not installed: pip install 'ntl_jax\[pool\]'"):
        check_packages(RunConfig(rollout=RolloutSection(engine="pool")))


@pytest.mark.parametrize(
    ("rollout", "named"),
    [
        (RolloutSection(engine="vllm"), "rollout.engine='vllm' needs the package vllm"),
        (
            RolloutSection(engine="pool", pool=PoolSection(engine="vllm")),
            "rollout.pool.engine='vllm' needs the package",
        ),
    ],
)
def test_vllm_is_missed_by_the_setting_that_needs_it(rollout, named, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "vllm" else name)
    with pytest.raises(ValueError, match=named):
        check_packages(RunConfig(rollout=rollout))


def test_the_caches_of_training_and_evaluation_are_checked_by_the_settings_that_make_them_large(setup):
    def check(trainer: int = 0, **rollout: int) -> None:
        settings = dataclasses.replace(setup.config.trainer, eval_samples=trainer)
        config = dataclasses.replace(setup.config, rollout=dataclasses.replace(setup.config.rollout, **rollout))
        fitting_cache_bytes(
            dataclasses.replace(config, trainer=settings), setup.policy, max_prompt_tokens=64, num_held_out=8
        )

    check()
    for settings, named in [
        ({"max_tokens": 10**9}, "rollout.max_tokens=1000000000 or data.max_prompt_tokens=384"),
        ({"slots": 10**9}, "lower rollout.slots=1000000000, rollout.max_tokens=24 or"),
        ({"num_samples": 10**9}, "lower rollout.num_samples=1000000000, "),
        ({"trainer": 10**9}, "lower trainer.eval_samples=1000000000, "),
    ]:
        with pytest.raises(ValueError, match=named):
            check(**settings)


def test_where_a_policy_is_only_asked_as_many_samples_are_in_flight_as_fit(setup):
    """Responses so long that memory holds at least two of them, and fewer than the slots that a run would take."""
    fits = fit_slots(setup.config, setup.policy, {"rollout.num_samples=4": (4, 8)}, max_prompt_tokens=64)
    assert fits[0] == setup.config and fits[1] > 0
    model = setup.policy.model
    per_token = 2 * model.num_layers * model.num_kv_heads * model.head_dim * jnp.dtype(model.compute_dtype).itemsize
    long = with_rollout(setup.config, max_tokens=free_bytes(setup.policy.mesh) // per_token // 5)
    fitted, num_bytes = fit_slots(long, setup.policy, {"trainer.eval_samples=2": (2, 8)}, max_prompt_tokens=64)
    assert fitted == with_rollout(long, slots=4)  # of 16
    assert num_bytes <= free_bytes(setup.policy.mesh)
    with pytest.raises(ValueError, match=r"the cache does not fit.*lower trainer.eval_samples=16, "):
        fit_slots(long, setup.policy, {"trainer.eval_samples=16": (16, 8)}, max_prompt_tokens=64)
    other = with_rollout(long, engine="vllm")
    assert fit_slots(other, setup.policy, {"trainer.eval_samples=16": (16, 8)}, max_prompt_tokens=64) == (other, 0)


def test_a_pool_is_made_as_its_section_says(setup, asked):
    section = PoolSection(
        workers=3,
        cpus_per_worker=2,
        resources=("rollout_node=1", "memory_gb=2.5"),
        address="auto",
        max_restarts=5,
        min_workers=2,
        timeout_s=7.0,
    )
    found = asked(with_rollout(setup.config, engine="pool", pool=section, max_staleness=2))
    assert (found["workers"], found["address"], found["max_staleness"]) == (3, "auto", 2)
    assert found["limits"] == Limits(timeout_s=7.0, max_restarts=5, min_workers=2)
    resources = {"rollout_node": 1.0, "memory_gb": 2.5}
    assert found["placement"] == Placement(2, 0, resources, {"JAX_PLATFORMS": "cpu"})


def test_the_store_is_as_large_as_the_weights_in_the_dtype_of_the_arithmetic_and_all_trajectories(setup, asked):
    num_parameters = sum(x.size for x in jax.tree.leaves(setup.initial))
    for dtype, itemsize in (("float32", 4), ("bfloat16", 2)):
        policy = dataclasses.replace(setup.policy, model=dataclasses.replace(setup.policy.model, compute_dtype=dtype))
        config = with_rollout(setup.config, engine="pool", max_staleness=1)
        found = asked(config, policy)
        assert found["version_bytes"] == itemsize * num_parameters and found["dtype"] == dtype
        assert found["trajectory_bytes"] == 3 * 4 * 4 * 24 * (4 + 4 + 40)
        assert found["factory"].args[0].model.param_dtype == dtype


@pytest.mark.parametrize(
    ("slots", "workers", "in_worker", "capacity"),
    [(None, 2, 8, 8), (None, 3, 8, 8), (None, 1, 16, 16), (6, 2, 6, 12)],
    ids=["half", "a third rounded up", "all", "as told"],
)
def test_a_worker_has_its_share_of_an_iterations_samples_in_flight_unless_told_otherwise(
    setup, asked, slots, workers, in_worker, capacity
):
    """With slots of its own it is dealt twice as many, so that they stay filled."""
    found = asked(with_rollout(setup.config, engine="pool", slots=slots, pool=PoolSection(workers=workers)))
    assert found["factory"].args[0].slots == in_worker and found["capacity"] == capacity


def test_what_the_engines_cannot_sample_is_refused_by_the_pool(setup, asked):
    request = Request(Prompt(3, np.zeros(0, np.int32), "", ""), Sampling(1, 4), 0)
    with pytest.raises(ValueError, match="prompt 3 is empty"):
        asked(with_rollout(setup.config, engine="pool"))["check"]([request])
    long = Request(setup.prompts.train[0], Sampling(1, 25, capture_entropy=True), 0)
    asked(with_rollout(setup.config, engine="pool"))["check"]([long])
    config = with_rollout(setup.config, engine="pool", pool=PoolSection(engine="vllm"))
    with pytest.raises(ValueError, match=r"max_tokens=25: the engine was made for 24; capture_entropy"):
        asked(config)["check"]([long])


@pytest.mark.slow
def test_a_workers_engine_is_made_of_what_was_pickled_and_samples_as_the_one_in_this_process(setup, asked):
    factory = pickle.loads(pickle.dumps(asked(with_rollout(setup.config, engine="pool"))["factory"]))
    (parts, setting) = factory.args
    assert isinstance(parts, EngineParts) and setting == setup.config.trainer.compilation_cache
    assert not any(isinstance(x, jax.Array) for x in jax.tree.leaves(parts.table))
    engine = worker_engine(parts, "off")
    assert isinstance(engine, JaxEngine)
    weights = Weights(Version(0), jax.tree.map(np.asarray, setup.initial))  # as from the store
    prompts, sampling = setup.prompts.train[:4], Sampling(4, 24)
    found, expected = [], []
    for target, which in ((found, engine), (expected, setup.engine)):
        with which.lending(weights):
            target += which.generate(prompts, sampling, seed=5)
    same = [a.response_ids.tolist() == b.response_ids.tolist() for a, b in zip(found, expected, strict=True)]
    assert np.mean(same) > 0.9  # last bits depend on the number of rows and devices


@pytest.mark.parametrize(
    ("pool", "vllm", "expected"),
    [
        ({}, {}, {"JAX_PLATFORMS": "cpu"}),
        ({"gpus_per_worker": 1.0}, {}, {}),
        ({"engine": "vllm", "gpus_per_worker": 1.0}, {}, {"JAX_PLATFORMS": "cpu"}),
        ({"engine": "vllm", "cpus_per_worker": 3.0}, {}, {"OMP_NUM_THREADS": "3"}),
        ({"engine": "vllm", "cpus_per_worker": 0.5}, {}, {"OMP_NUM_THREADS": "1"}),
        ({"engine": "vllm"}, {"tensor_parallel_size": 2}, {"JAX_PLATFORMS": "cpu"}),
    ],
    ids=["JAX on CPU", "JAX on GPU", "vLLM on GPU", "vLLM on three CPUs", "on half a CPU", "of two processes"],
)
def test_a_workers_environment_fits_where_it_samples(setup, pool, vllm, expected):
    rollout = with_rollout(setup.config, engine="pool", pool=PoolSection(**pool), vllm=VllmSection(**vllm)).rollout
    if "OMP_NUM_THREADS" in expected:
        expected = expected | {"JAX_PLATFORMS": "cpu", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    assert _environment(rollout) == expected

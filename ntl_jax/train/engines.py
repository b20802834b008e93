# SPDX-License-Identifier: Apache-2.0
"""Builds the rollout engine from the configuration: in this process, or in workers of a pool."""

import contextlib
import dataclasses
import functools
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from ntl_jax.compilation_cache import keep_programs
from ntl_jax.config import PoolSection, RolloutSection, RunConfig
from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.models import ModelConfig, make_mesh, shardings
from ntl_jax.numerals import NumberTable
from ntl_jax.processes.arrays import local_copy, local_mesh
from ntl_jax.processes.exchange import agreed, is_first, num_processes
from ntl_jax.records import Request, Sampling
from ntl_jax.rollout import JaxEngine, RolloutEngine, VllmEngine
from ntl_jax.rollout.dealt import DealtEngine
from ntl_jax.rollout.engine import check_requests
from ntl_jax.rollout.jax.cache import CacheSettings
from ntl_jax.rollout.sampling import num_slots
from ntl_jax.rollout.vllm.requests import check_samplings
from ntl_jax.rollout.vllm.start import check_vllm
from ntl_jax.train.policy import Policy

if TYPE_CHECKING:
    from ntl_jax.rollout import RayPool

BYTES_PER_TOKEN = 4 + 4 + 4 * 10  # of a trajectory in the object store: id, log-prob, log-probs of the digits


class EngineParts(NamedTuple):
    """What an engine is made from, whether in this process or in another one: nothing of it is on a device.

    Args:
        rollout: settings of sampling and of vLLM.
        model: the policy's sizes and settings.
        table: the digits' ids.
        tokenizer: the policy's tokenizer; None: without stop strings.
        max_prompt_tokens: length of the longest prompt.
        slots: samples in flight.
    """

    rollout: RolloutSection
    model: ModelConfig
    table: NumberTable
    tokenizer: Tokenizer | None
    max_prompt_tokens: int
    slots: int


def build_engine(config: RunConfig, policy: Policy, *, max_prompt_tokens: int) -> RolloutEngine:
    """The rollout engine.

    Args:
        config: its ``rollout`` section.
        policy: the policy to sample from.
        max_prompt_tokens: length of the longest prompt.

    Raises:
        ValueError: for an engine that is not installed, or cannot sample from this policy; for a pool without room.
    """
    parts = _parts(config, policy, max_prompt_tokens)
    if num_processes() > 1:
        return _dealt_engine(config, policy, parts)
    match config.rollout.engine:
        case "jax":
            return _jax_engine(parts, policy.mesh)
        case "vllm":
            return _vllm_engine(parts)
        case "pool":
            return _pool(config, parts)


def _parts(config: RunConfig, policy: Policy, max_prompt_tokens: int) -> EngineParts:
    table = jax.tree.map(np.asarray, policy.digits)
    rollout = config.rollout
    return EngineParts(rollout, policy.model, table, policy.tokenizer, max_prompt_tokens, num_slots(rollout))


def _jax_engine(parts: EngineParts, mesh: jax.sharding.Mesh) -> JaxEngine:
    return JaxEngine(
        parts.model,
        parts.table,
        mesh=mesh,
        slots=parts.slots,
        max_prompt_tokens=parts.max_prompt_tokens,
        num_prompts=parts.rollout.prompts_per_step if parts.rollout.slots else None,
        tokenizer=parts.tokenizer,
    )


def _dealt_engine(config: RunConfig, policy: Policy, parts: EngineParts) -> DealtEngine:
    """The engines of several processes: JAX on the devices of each, or the pool of the first."""
    mesh, is_shared = local_mesh(policy.mesh), config.rollout.engine == "jax"
    placement = shardings(policy.shapes(), mesh)
    own: list[RolloutEngine] = []

    def build() -> None:
        if is_shared:
            own.append(_jax_engine(parts, mesh))
        elif is_first():
            own.append(_pool(config, parts))

    agreed(build)  # where a pool cannot start, all end
    return DealtEngine(own[0] if own else None, lambda params: local_copy(params, placement), shared=is_shared)


def _vllm_engine(parts: EngineParts) -> VllmEngine:
    return VllmEngine(
        parts.model,
        parts.table,
        max_prompt_tokens=parts.max_prompt_tokens,
        max_tokens=parts.rollout.max_tokens,
        tokenizer=parts.tokenizer if parts.rollout.stop_strings else None,
        settings=parts.rollout.vllm,
    )


def _pool(config: RunConfig, parts: EngineParts) -> "RayPool":
    from ntl_jax.rollout.pool.crew import Placement
    from ntl_jax.rollout.pool.devices import check_apart, gpus_for_workers, gpus_here
    from ntl_jax.rollout.pool.dispatcher import Limits
    from ntl_jax.rollout.pool.pool import RayPool
    from ntl_jax.rollout.pool.worker import Identity, differences, this_host

    rollout, pool, model = config.rollout, config.rollout.pool, parts.model
    training = config.trainer.devices
    gpus = [] if pool.address else gpus_for_workers(training, pool.workers * pool.gpus_per_worker)
    # The store's copy has the dtype of the arithmetic, which the JAX engine casts to in any case.
    sent = dataclasses.replace(model, param_dtype=model.compute_dtype)
    num_tokens = rollout.prompts_per_step * rollout.num_samples * rollout.max_tokens
    engine = RayPool(
        functools.partial(worker_engine, parts._replace(model=sent), config.trainer.compilation_cache),
        pool.workers,
        capacity=2 * rollout.slots if rollout.slots else parts.slots,
        version_bytes=model.num_params * np.dtype(jax.numpy.dtype(sent.param_dtype)).itemsize,
        trajectory_bytes=(rollout.max_staleness + 2) * num_tokens * BYTES_PER_TOKEN,
        max_staleness=rollout.max_staleness,
        dtype=sent.param_dtype,
        check=functools.partial(_check, parts),
        placement=Placement(pool.cpus_per_worker, pool.gpus_per_worker, _amounts(pool), _environment(rollout)),
        limits=Limits(pool.timeout_s, pool.max_restarts, pool.min_workers),
        address=pool.address,
        gpus=gpus,
    )
    if pool.engine == "jax":
        for difference in differences(list(engine.workers.values()), Identity.of_this_process()):
            print(f"warning: {difference}: samples may differ in last bits", file=sys.stderr)
    if jax.default_backend() == "gpu":
        here = gpus_here()
        with contextlib.ExitStack() as overlap:
            overlap.callback(engine.close)
            check_apart(engine.workers.values(), this_host(), [here[i] for i in training] or here)
            overlap.pop_all()
    return engine


def check_packages(config: RunConfig) -> None:
    """Raises a ValueError if the engine needs a package or GPUs that are not there."""
    rollout, pool = config.rollout, config.rollout.pool
    if rollout.engine == "vllm" and num_processes() > 1:
        raise ValueError(
            f"rollout.engine='vllm' samples in one process, and {num_processes()} train: set it to 'jax', or to 'pool' "
            "with rollout.pool.engine='vllm'"
        )
    private_pool = rollout.engine == "pool" and pool.address is None
    if rollout.engine == "pool" and importlib.util.find_spec("ray") is None:
        raise ValueError(
            "rollout.engine='pool' needs the package ray, which is not installed: pip install 'ntl_jax[pool]'"
        )
    if rollout.engine == "vllm" or (private_pool and pool.engine == "vllm"):
        check_vllm("rollout.engine='vllm'" if rollout.engine == "vllm" else "rollout.pool.engine='vllm'")
    if private_pool and pool.gpus_per_worker:
        from ntl_jax.rollout.pool.devices import gpus_for_workers

        gpus_for_workers(config.trainer.devices, pool.workers * pool.gpus_per_worker)


def fitting_cache_bytes(config: RunConfig, policy: Policy, *, max_prompt_tokens: int, num_held_out: int) -> int:
    """Bytes of the largest cache of the JAX engine on the training devices, in training and evaluation.

    Args:
        config, policy: those of the run.
        max_prompt_tokens: length of the longest prompt.
        num_held_out: number of prompts of an evaluation.

    Returns:
        0 if another engine samples.

    Raises:
        ValueError: if a cache does not fit in memory, naming the settings that decide its size.
    """
    rollout, trainer = config.rollout, config.trainer
    groups = {f"rollout.num_samples={rollout.num_samples}": (rollout.num_samples, rollout.prompts_per_step)}
    if trainer.eval_samples:
        groups[f"trainer.eval_samples={trainer.eval_samples}"] = trainer.eval_samples, num_held_out
    return _largest_cache(config, policy, max_prompt_tokens, groups)


def fit_slots(
    config: RunConfig, policy: Policy, groups: Mapping[str, tuple[int, int]], *, max_prompt_tokens: int
) -> tuple[RunConfig, int]:
    """The settings where a policy is only asked: with fewer slots of the JAX engine, if memory holds no more.

    Args:
        config, policy: what is asked, and how.
        groups: samples of a prompt and number of prompts, by what a message calls the samples.
        max_prompt_tokens: length of the longest prompt.

    Returns:
        The settings, and the bytes of the largest cache; 0 if another engine samples.

    Raises:
        ValueError: as `fitting_cache_bytes`, if the samples of one prompt do not fit.
    """
    while True:
        try:
            return config, _largest_cache(config, policy, max_prompt_tokens, groups)
        except ValueError:
            slots = _parts(config, policy, max_prompt_tokens).slots
            if slots == 1:
                raise
            config = dataclasses.replace(config, rollout=dataclasses.replace(config.rollout, slots=slots // 2))


def _largest_cache(
    config: RunConfig, policy: Policy, max_prompt_tokens: int, groups: Mapping[str, tuple[int, int]]
) -> int:
    """Bytes of the largest cache; raises a ValueError as `fitting_cache_bytes`."""
    rollout = config.rollout
    if rollout.engine != "jax":
        return 0
    parts = _parts(config, policy, max_prompt_tokens)._replace(tokenizer=None)
    lengths = f"rollout.max_tokens={rollout.max_tokens}", f"data.max_prompt_tokens={config.data.max_prompt_tokens}"
    slots = "rollout.slots" if rollout.slots is None else f"rollout.slots={rollout.slots}"
    num_bytes = 0
    for group, (num_samples, num_requests) in groups.items():
        sampling = Sampling(num_samples=num_samples, max_tokens=rollout.max_tokens)
        for name, count in ((group, 1), (slots, parts.slots)):  # the samples of a prompt have their slots together
            engine = _jax_engine(parts._replace(slots=count), local_mesh(policy.mesh))
            given = name != "rollout.slots"
            needed = engine.fitting_bytes(sampling, num_requests, CacheSettings(name, *lengths, slots_given=given))
            num_bytes = max(num_bytes, needed)
    return num_bytes


def worker_engine(parts: EngineParts, compilation_cache: str) -> RolloutEngine:
    """The engine of a pool's worker, in its process, on all devices that the process has.

    Args:
        parts: what it is made from.
        compilation_cache: the setting ``trainer.compilation_cache``.
    """
    keep_programs(compilation_cache)
    if parts.rollout.pool.engine == "vllm":
        return _vllm_engine(parts)
    return _jax_engine(parts, make_mesh((-1, 1, 1), jax.devices()))


def _check(parts: EngineParts, requests: Sequence[Request]) -> None:
    check_requests(requests, parts.model, parts.max_prompt_tokens)
    if parts.rollout.pool.engine == "vllm":
        check_samplings([request.sampling for request in requests], parts.rollout.max_tokens)


def _amounts(pool: PoolSection) -> dict[str, float]:
    return {name: float(amount) for name, _, amount in (text.partition("=") for text in pool.resources)}


def _environment(rollout: RolloutSection) -> Mapping[str, str]:
    """A worker's environment. JAX leaves the GPUs alone where it does not sample on them, and takes no memory there.

    A vLLM engine on CPU gets threads for the CPUs that Ray counts for it. vLLM binds them to cores by itself, which are
    the same ones in all workers of a machine; so it is told not to, except where one engine has several processes.
    """
    pool, environment = rollout.pool, {}
    if pool.engine == "vllm" or not pool.gpus_per_worker:
        environment["JAX_PLATFORMS"] = "cpu"
    if pool.engine == "vllm" and not pool.gpus_per_worker and rollout.vllm.tensor_parallel_size == 1:
        environment["OMP_NUM_THREADS"] = str(max(1, round(pool.cpus_per_worker)))
        environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
    return environment

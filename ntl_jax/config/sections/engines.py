# SPDX-License-Identifier: Apache-2.0
"""The settings of the vLLM engine and of the pool of engines."""

import dataclasses
import re
from typing import Literal

from ntl_jax.config.setting import SHARE, Range, above, at_least, or_none, setting

TEMPERATURES = (0.01, 2.0)
"""Temperatures that vLLM samples at: it silently raises lower ones to 0.01, and refuses higher ones."""

_OPTIONS: Range[tuple[str, ...]] = Range(
    "be engine arguments of vLLM like 'block_size=32'",
    lambda options: all(option.partition("=")[0].isidentifier() and "=" in option for option in options),
)


_AMOUNT = re.compile(r"[^=]+=(?=.*[1-9])\d+(\.\d+)?")
_RESOURCES: Range[tuple[str, ...]] = Range(
    "be amounts of the cluster's resources like 'rollout_node=1'",
    lambda resources: all(map(_AMOUNT.fullmatch, resources)),
)


@dataclasses.dataclass(frozen=True)
class VllmSection:
    """Settings of vLLM engines, named as vLLM names them. None: vLLM's own default."""

    dtype: Literal["float32", "bfloat16"] | None = None
    """Dtype of vLLM's weights, cache and arithmetic. None: model.compute_dtype."""
    tensor_parallel_size: int = setting(1, at_least(1))
    """Number of GPUs over which vLLM spreads the policy; on CPU, of processes."""
    max_num_seqs: int | None = setting(None, or_none(at_least(1)))
    """Most samples that decode together."""
    gpu_memory_utilization: float | None = setting(None, or_none(SHARE))
    """Share of the device's memory (on CPU: of the machine's) for weights and cache; JAX needs the rest."""
    kv_cache_memory_bytes: int | None = setting(None, or_none(at_least(1)))
    """Size of the cache, instead of a share of the memory."""
    quantization: str | None = None
    """Quantization of vLLM's weights, such as 'fp8'. The trainer's weights are not quantized, so log-probs differ."""
    enforce_eager: bool = False
    """Run without compiled graphs: slower on GPU, but starts sooner. On CPU hardly slower for small policies."""
    options: tuple[str, ...] = setting((), _OPTIONS)
    """Further engine arguments of vLLM as NAME=VALUE, such as block_size=32; VALUE is JSON or a word."""
    bucket_mib: int = setting(256, at_least(1))
    """Weights are sent to vLLM in buckets of this many MiB, which is the memory that the transfer takes."""


@dataclasses.dataclass(frozen=True)
class PoolSection:
    """Settings of rollout.engine='pool': engines in processes of their own, over Ray."""

    workers: int = setting(2, at_least(1))
    """Number of workers, each with one engine."""
    engine: Literal["jax", "vllm"] = "jax"
    """Engine of the workers."""
    cpus_per_worker: float = setting(1.0, above(0))
    """CPUs that Ray counts for a worker. They place workers; JAX uses all cores of a machine, PyTorch this number."""
    gpus_per_worker: float = setting(0.0, at_least(0))
    """GPUs of a worker; 0: it samples on CPU. With vLLM, rollout.vllm.tensor_parallel_size spreads over them."""
    resources: tuple[str, ...] = setting((), _RESOURCES)
    """Custom resources of the cluster that a worker takes, as NAME=AMOUNT, to place workers on certain nodes."""
    address: str | None = setting(None, or_none(Range("not be empty", bool)))
    """Ray cluster to use: HOST:6379, auto, or ray://HOST:10001. None: a private one on this machine."""
    max_restarts: int = setting(16, at_least(0))
    """Workers that are replaced after they died, in all, before the pool goes on with fewer."""
    min_workers: int = setting(1, at_least(1))
    """With fewer workers, and no restarts left, the run is saved and stops."""
    timeout_s: float = setting(300.0, above(0))
    """A worker that has not answered for so long is replaced. Starting, loading weights and compiling count too."""

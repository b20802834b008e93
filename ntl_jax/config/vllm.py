# SPDX-License-Identifier: Apache-2.0
"""The settings of the vLLM engine."""

import dataclasses
from typing import Literal

from ntl_jax.config.setting import SHARE, Range, at_least, or_none, setting

TEMPERATURES = (0.01, 2.0)
"""Temperatures that vLLM samples at: it silently raises lower ones to 0.01, and refuses higher ones."""

_OPTIONS: Range[tuple[str, ...]] = Range(
    "be engine arguments of vLLM like 'block_size=32'",
    lambda options: all(option.partition("=")[0].isidentifier() and "=" in option for option in options),
)


@dataclasses.dataclass(frozen=True)
class VllmSection:
    """Settings of rollout.engine='vllm', named as vLLM names them. None: vLLM's own default."""

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

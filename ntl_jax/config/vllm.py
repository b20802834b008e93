# SPDX-License-Identifier: Apache-2.0
"""The settings of the vLLM engine."""

import dataclasses
from typing import Literal

from ntl_jax.config.setting import SHARE, Range, at_least, or_none, setting

TEMPERATURES = (0.01, 2.0)
"""What vLLM samples at: below, it would go over to 0.01 by itself; above, it refuses."""

_OPTIONS: Range[tuple[str, ...]] = Range(
    "be engine arguments of vLLM like 'block_size=32'",
    lambda options: all(option.partition("=")[0].isidentifier() and "=" in option for option in options),
)


@dataclasses.dataclass(frozen=True)
class VllmSection:
    """Settings of rollout.engine='vllm', named as vLLM names them. None: vLLM's own default."""

    dtype: Literal["float32", "bfloat16"] | None = None
    """Of vLLM's weights, cache and arithmetic. None: model.compute_dtype."""
    tensor_parallel_size: int = setting(1, at_least(1))
    """GPUs over which vLLM spreads the policy; on CPU, processes."""
    max_num_seqs: int | None = setting(None, or_none(at_least(1)))
    """Samples that are decoded together."""
    gpu_memory_utilization: float | None = setting(None, or_none(SHARE))
    """Share of the device's memory (on CPU: of the machine's) for weights and cache; JAX needs its part beside it."""
    kv_cache_memory_bytes: int | None = setting(None, or_none(at_least(1)))
    """Of the cache, instead of a share of the memory."""
    quantization: str | None = None
    """Of vLLM's weights, such as 'fp8'. The trainer's stay as they are, so log-probs differ from its own."""
    enforce_eager: bool = False
    """Without compiled graphs: slower on GPU, ready sooner. On CPU hardly slower for small policies."""
    options: tuple[str, ...] = setting((), _OPTIONS)
    """More of vLLM's engine arguments as NAME=VALUE, VALUE in JSON or a word, such as block_size=32."""
    bucket_mib: int = setting(256, at_least(1))
    """Weights reach vLLM in buckets of so many MiB, which is the memory that their transfer takes."""

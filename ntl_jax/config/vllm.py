# SPDX-License-Identifier: Apache-2.0
"""The settings of the vLLM engine."""

import dataclasses
from typing import Literal

TEMPERATURES = (0.01, 2.0)
"""What vLLM samples at: below, it would go over to 0.01 by itself; above, it refuses."""


@dataclasses.dataclass(frozen=True)
class VllmSection:
    """Settings of rollout.engine='vllm', named as vLLM names them. None: vLLM's own default."""

    dtype: Literal["float32", "bfloat16"] | None = None
    """Of vLLM's weights, cache and arithmetic. None: model.compute_dtype."""
    tensor_parallel_size: int = 1
    """GPUs over which vLLM spreads the policy; on CPU, processes."""
    max_num_seqs: int | None = None
    """Samples that are decoded together."""
    gpu_memory_utilization: float | None = None
    """Share of the device's memory (on CPU: of the machine's) for weights and cache; JAX needs its part beside it."""
    kv_cache_memory_bytes: int | None = None
    """Of the cache, instead of a share of the memory."""
    quantization: str | None = None
    """Of vLLM's weights, such as 'fp8'. The trainer's stay as they are, so log-probs differ from its own."""
    enforce_eager: bool = False
    """Without compiled graphs: slower on GPU, ready sooner. On CPU hardly slower for small policies."""
    options: tuple[str, ...] = ()
    """More of vLLM's engine arguments as NAME=VALUE, VALUE in JSON or a word, such as block_size=32."""
    bucket_mib: int = 256
    """Weights reach vLLM in buckets of so many MiB, which is the memory that their transfer takes."""

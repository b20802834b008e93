# SPDX-License-Identifier: Apache-2.0
"""The records that packages exchange: prompts, requests, weights, samples and training batches.

Dimension letters, with one meaning in all modules: B rows, S whole-sequence positions, P prompt positions, T response
positions, V vocabulary, D width, L layers, N query heads, K key/value heads, H head size, F feed-forward width,
G samples per prompt, M number tokens, C chunk.

One example runs through all docstrings: the prompt ``2+3?`` (ids ``[7, 11, 8, 12]``), its true answer 5, and the
sampled response ``#### 6`` (ids ``[20, 6, 1]``, the last one end-of-text).
"""

from ntl_jax.records.batch import Batch, TokenOutputs, TokenWeights
from ntl_jax.records.experience import Experience, Values
from ntl_jax.records.ntl_info import NTLInfo
from ntl_jax.records.prompt import Prompt
from ntl_jax.records.readings import NumberReadings
from ntl_jax.records.request import Request
from ntl_jax.records.rows import AnyArray, AnyRows, Rows, SharedRows, Targets
from ntl_jax.records.sampling import Sampling
from ntl_jax.records.trajectory import FinishReason, Trajectory, VersionSpan
from ntl_jax.records.weights import Params, Version, VersionKind, Weights

__all__ = [
    "AnyArray",
    "AnyRows",
    "Batch",
    "Experience",
    "FinishReason",
    "NTLInfo",
    "NumberReadings",
    "Params",
    "Prompt",
    "Request",
    "Rows",
    "Sampling",
    "SharedRows",
    "Targets",
    "TokenOutputs",
    "TokenWeights",
    "Trajectory",
    "Values",
    "Version",
    "VersionKind",
    "VersionSpan",
    "Weights",
]

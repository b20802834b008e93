# SPDX-License-Identifier: Apache-2.0
"""What an update takes on one device besides its state: estimates, from sizes alone.

XLA decides what lives at the same time. The counts here are those of the compiled text of stacked layers, on CPU and
TPU; separate layers can take more, since XLA may keep the gathered weights of several.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp

from ntl_jax.models import ModelConfig
from ntl_jax.models.attention.rows import choose_attention
from ntl_jax.ops.chunks import num_chunks

FLOAT32_BYTES = 4
SUMS = 2
"""Arrays of the gradients' size in float32 where micro-batches are summed: the sum, and the next one."""
HEAD_SUMS = 2
"""Arrays of the head's size in float32: the sum over chunks, and the next one or, in the end, the sum over devices."""
LOGITS = 3
"""Arrays of a chunk's logits: themselves, their exponentials and their gradient."""
WORKED_ON = {"none": 0.5, "dots": 1.0, "layer": 1.5}
"""Results of a layer that live during its backward pass and are not kept, by ``remat``, as a share of all its results:
those that are recomputed, and their gradients."""


class PassSize(NamedTuple):
    """Size of a micro-batch, on all devices together.

    Args:
        num_rows, row_size: rows, and positions in each.
        attended: positions that one position attends to, at most: those of a prompt and its response.
        num_responses, response_size: responses, and tokens in each.
    """

    num_rows: int
    row_size: int
    attended: int
    num_responses: int
    response_size: int


class StepBytes(NamedTuple):
    """Bytes on one device that an update takes besides its state, when it takes most.

    That is either in the vocabulary head, where the head's gradient is summed, or in the backward pass of a layer.

    Args:
        gradients: of the policy, and their sum over micro-batches.
        activations: kept for the backward pass, and those that it works on.
        weights: gathered or cast: of the head with its finished gradient, and of a layer (of all, unless stacked).
        logits: of a chunk of positions, and the head's gradient while it is summed.
    """

    gradients: int
    activations: int
    weights: int
    logits: int


def step_bytes(
    model: ModelConfig, mesh: Mapping[str, int], size: PassSize, *, num_parts: int, platform: str
) -> StepBytes:
    """An estimate for one update of the policy.

    Args:
        model: the policy's sizes.
        mesh: sizes of data, fsdp and tensor.
        size: of a micro-batch.
        num_parts: micro-batches in an update.
        platform: of the devices, which decides whether the attention's scores are kept.

    Example:
        >>> sizes = {"width": 64, "num_heads": 2, "num_kv_heads": 1, "head_dim": 32, "feed_forward": 128}
        >>> model = ModelConfig(vocab_size=512, num_layers=2, **sizes)
        >>> size = PassSize(num_rows=8, row_size=64, attended=64, num_responses=8, response_size=32)
        >>> step_bytes(model, {"data": 1, "fsdp": 1, "tensor": 1}, size, num_parts=1, platform="cpu").gradients
        428288
    """
    item, param_item = (jnp.dtype(dtype).itemsize for dtype in (model.compute_dtype, model.param_dtype))
    tensor, shards = mesh["tensor"], mesh["data"] * mesh["fsdp"]
    num_params = model.num_params // (mesh["fsdp"] * tensor)
    summed = SUMS * FLOAT32_BYTES if num_parts > 1 else 0
    head = model.vocab_size * model.width // tensor
    copied = item * (mesh["fsdp"] > 1 or item != param_item)
    shape = (size.num_responses, size.response_size)
    positions = math.prod(shape) / num_chunks(shape, model.vocab_size, None) / shards
    in_head = int(FLOAT32_BYTES * (LOGITS * positions * model.vocab_size / tensor + HEAD_SUMS * head))
    kept, worked_on = activation_bytes(model, size, platform, shards=shards, tensor=tensor)
    of_layer = layer_params(model) // tensor * copied * (1 if model.scan_layers else model.num_layers)
    in_layer = worked_on + of_layer
    gradients, weights = num_params * (param_item + summed), head * (copied + item)
    if in_head > in_layer:
        return StepBytes(gradients, kept, weights, in_head)
    return StepBytes(gradients, kept + worked_on, weights + of_layer, 0)


def activation_bytes(
    model: ModelConfig, size: PassSize, platform: str, *, shards: int = 1, tensor: int = 1
) -> tuple[int, int]:
    """What a forward pass keeps for the backward pass on one device, and what that works on in a layer: an estimate.

    Args:
        model, size, platform: as in `step_bytes`.
        shards, tensor: over how many devices rows and heads are spread.

    Example:
        >>> sizes = {"width": 64, "num_heads": 2, "num_kv_heads": 1, "head_dim": 32, "feed_forward": 128}
        >>> model = ModelConfig(vocab_size=512, num_layers=2, **sizes, remat="layer", scan_layers=True)
        >>> size = PassSize(num_rows=8, row_size=64, attended=64, num_responses=8, response_size=32)
        >>> [activation_bytes(model, size, "cpu", shards=shards) for shards in (1, 2)]
        [(262144, 3538944), (131072, 1769472)]
    """
    item, width = jnp.dtype(model.compute_dtype).itemsize, model.width
    queries = model.num_heads * model.head_dim / tensor
    keys = model.num_kv_heads * model.head_dim / (tensor if model.num_kv_heads % tensor == 0 else 1)
    hidden = model.feed_forward / tensor
    products = (queries + 2 * keys + 2 * hidden + 2 * width) * item
    layer = products + (queries + hidden + 3 * width) * item
    scores, shape = 0.0, (1, size.row_size, model.num_heads, model.head_dim)
    if choose_attention(model.attention, shape, jnp.dtype(model.compute_dtype), platform) == "xla":
        scores = FLOAT32_BYTES * model.num_heads * size.attended / tensor
        layer += 2 * scores  # and their softmax
    if model.remat == "none":  # stacked layers keep all products, those of attention among them
        kept = products + (queries + width) * item + scores if model.scan_layers else layer
    else:
        kept = {"dots": products + width * item, "layer": width * item}[model.remat]
    positions = size.num_rows * size.row_size / shards
    return int(positions * model.num_layers * kept), int(positions * WORKED_ON[model.remat] * layer)


def layer_params(model: ModelConfig) -> int:
    """Number of parameters of one layer."""
    embeddings = (1 if model.tie_embeddings else 2) * model.vocab_size * model.width + model.width
    return (model.num_params - embeddings) // model.num_layers

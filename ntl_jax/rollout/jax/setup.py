# SPDX-License-Identifier: Apache-2.0
"""What all rounds of the JAX engine share."""

import dataclasses

from flax import nnx
from jax.sharding import Mesh

from ntl_jax.models import ModelConfig
from ntl_jax.numerals import NumberTable, TokenDecoder


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
    """What all rounds of an engine share.

    Args:
        model, graph: the policy's shapes and graph definition.
        by_layer: graph definition of the policy with separate layers; the same as ``graph`` unless layers are stacked.
        table: the digits' ids.
        mesh: mesh of the parameters and rows.
        slots: samples in flight, before rounding.
        tile_slots: as in `JaxEngine`.
        max_prompt_tokens: longest prompt, P.
        decode_text: decodes text for stop strings; None without a tokenizer.
        num_prompts: as in `JaxEngine`.
    """

    model: ModelConfig
    graph: nnx.GraphDef
    by_layer: nnx.GraphDef
    table: NumberTable
    mesh: Mesh
    slots: int
    tile_slots: int | None
    max_prompt_tokens: int
    decode_text: TokenDecoder | None
    num_prompts: int | None

# SPDX-License-Identifier: Apache-2.0
"""Passes through a model without a gradient, over any number of rows, in parts that fit."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from ntl_jax.models import Critic, Decoder, batch_sharding, num_row_shards
from ntl_jax.ops import vocab_head
from ntl_jax.records import TrainBatch
from ntl_jax.rows.micro_batches import micro_batches
from ntl_jax.rows.padding import take_rows


class RowPass:
    """Runs a function of a model and rows, and joins what it gives for each row, on the host.

    Args:
        run: (graph definition, parameters, rows, further arrays) -> arrays with an entry a row.
        mesh: of the parameters.
        max_tokens: padded tokens that go through the model at once.
    """

    def __init__(self, run: Callable[..., Any], mesh: Mesh, max_tokens: int):
        self._run = jax.jit(run, static_argnums=0)
        self._mesh, self._sharding, self._max_tokens = mesh, batch_sharding(mesh), max_tokens

    def __call__(self, graph: nnx.GraphDef, params: Any, batch: TrainBatch, *arrays: Any) -> Any:
        """The results for all rows; what the last part is short of is filled up with others."""
        num_rows, row_size = batch.tokens.shape
        parts = micro_batches(num_rows, row_size, self._max_tokens, num_row_shards(self._mesh))
        row_parts = np.resize(np.arange(num_rows), parts)
        with jax.set_mesh(self._mesh):
            placed = (jax.device_put(take_rows(batch, rows), self._sharding) for rows in row_parts)
            results = [jax.device_get(self._run(graph, params, part, *arrays)) for part in placed]
        return jax.tree.map(lambda *xs: np.concatenate(xs)[:num_rows], *results)


def predictor_states(decoder: Decoder, batch: TrainBatch) -> Float[Array, "B T D"]:
    """The hidden states that predict the response tokens."""
    hidden = decoder(batch.tokens, positions=batch.positions, segment_ids=batch.segment_ids)
    return jnp.take_along_axis(hidden, batch.predictors[:, :, None], axis=1)


def sampled_log_probs(graph: nnx.GraphDef, params: Any, batch: TrainBatch, temperature: Array) -> Float[Array, "B T"]:
    """Log-probs of the response tokens at this temperature, under the decoder of graph and parameters."""
    decoder: Decoder = nnx.merge(graph, params)
    hidden, nothing = predictor_states(decoder, batch), jnp.zeros(0, jnp.int32)
    head, num_tokens = decoder.head(), decoder.config.num_tokens
    return vocab_head(hidden, head, batch.targets, nothing, temperature=temperature, num_tokens=num_tokens).log_probs


def predicted_values(graph: nnx.GraphDef, params: Any, batch: TrainBatch) -> Float[Array, "B T"]:
    """Value of the state before each response token, under the critic of graph and parameters."""
    critic: Critic = nnx.merge(graph, params)
    return critic.values(predictor_states(critic.trunk, batch))

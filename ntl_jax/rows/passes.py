# SPDX-License-Identifier: Apache-2.0
"""Forward passes through a model without gradient, over any number of rows, in parts that fit in memory."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PyTree

from ntl_jax.models import Critic, Decoder, batch_sharding, num_row_shards
from ntl_jax.ops import vocab_head
from ntl_jax.records import Params, Rows
from ntl_jax.rows.micro_batches import micro_batches

AnyTree = TypeVar("AnyTree")


class RowPass:
    """Runs a function of a model, rows and arrays with one entry per row, part by part, and joins the results.

    Args:
        run: (graph definition, parameters, rows, *by_row, *arguments) -> arrays with one entry per row.
        mesh: mesh of the parameters.
        max_tokens: most padded tokens per forward pass.
    """

    def __init__(self, run: Callable[..., PyTree[Array]], mesh: Mesh, max_tokens: int):
        self._run = jax.jit(run, static_argnums=0)
        self._mesh, self._sharding, self._max_tokens = mesh, batch_sharding(mesh), max_tokens

    def __call__(
        self, graph: nnx.GraphDef, params: Params, rows: Rows, by_row: tuple[PyTree, ...] = (), *arguments: ArrayLike
    ) -> PyTree[Array]:
        """The results for all rows, on the device. Other rows fill the last part.

        Args:
            graph, params: the model.
            rows: any number.
            by_row: arrays with one entry per row.
            arguments: the same for all rows.
        """
        num_rows, row_size = rows.tokens.shape
        parts = micro_batches(num_rows, row_size, self._max_tokens, num_row_shards(self._mesh))
        row_parts = np.resize(np.arange(num_rows), parts)
        with jax.set_mesh(self._mesh):
            placed = (jax.device_put(take_rows((rows, *by_row), part), self._sharding) for part in row_parts)
            results = [self._run(graph, params, *part, *arguments) for part in placed]
            return jax.tree.map(lambda *xs: jnp.concatenate(xs)[:num_rows], *results)


def take_rows(arrays: AnyTree, rows: np.ndarray) -> AnyTree:
    """Some rows of arrays with one entry per row."""
    return jax.tree.map(lambda x: x[rows], arrays)


def predictor_states(decoder: Decoder, rows: Rows) -> Float[Array, "B T D"]:
    """The hidden states that predict the response tokens."""
    tokens, positions, segment_ids, predictors = jax.tree.map(jnp.asarray, rows)
    hidden = decoder(tokens, positions=positions, segment_ids=segment_ids)
    return jnp.take_along_axis(hidden, predictors[:, :, None], axis=1)


def response_segments(rows: Rows) -> Int[Array, "B T"] | None:
    """The segment of each response token; None: one sequence per row."""
    if rows.segment_ids is None:
        return None
    return jnp.take_along_axis(jnp.asarray(rows.segment_ids), rows.predictors, axis=1)


def sampled_log_probs(
    graph: nnx.GraphDef, params: Params, rows: Rows, ids: Int[Array, "B T"], temperature: Array
) -> Float[Array, "B T"]:
    """Log-probs of the response tokens ``ids`` at this temperature, under the decoder given by graph and parameters."""
    decoder: Decoder = nnx.merge(graph, params)
    hidden, nothing = predictor_states(decoder, rows), jnp.zeros(0, jnp.int32)
    head, num_tokens = decoder.head(), decoder.config.num_tokens
    return vocab_head(hidden, head, ids, nothing, temperature=temperature, num_tokens=num_tokens).log_probs


def predicted_values(graph: nnx.GraphDef, params: Params, rows: Rows) -> Float[Array, "B T"]:
    """Value of the state before each response token, under the critic given by graph and parameters."""
    critic: Critic = nnx.merge(graph, params)
    return critic.values(predictor_states(critic.trunk, rows))

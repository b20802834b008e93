# SPDX-License-Identifier: Apache-2.0
"""Forward passes through a model without gradient, over any number of rows, in parts that fit in memory."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PyTree

from ntl_jax.models import Critic, Decoder, batch_sharding, num_row_shards
from ntl_jax.models.attention.shared import shared_attention
from ntl_jax.ops import vocab_head
from ntl_jax.processes.arrays import host_or_here, place
from ntl_jax.records import AnyRows, Params, SharedRows
from ntl_jax.rows.micro_batches import micro_batches

AnyTree = TypeVar("AnyTree")


class RowPass:
    """Runs a function of a model, rows and arrays with one entry per response, part by part, and joins the results.

    Args:
        run: (graph definition, parameters, rows, *by_response, *arguments) -> arrays with one entry per response.
        mesh: mesh of the parameters.
        max_tokens: most padded tokens per forward pass.
    """

    def __init__(self, run: Callable[..., PyTree[Array]], mesh: Mesh, max_tokens: int):
        self._run = jax.jit(run, static_argnums=0)
        self._mesh, self._sharding, self._max_tokens = mesh, batch_sharding(mesh), max_tokens

    def __call__(
        self,
        graph: nnx.GraphDef,
        params: Params,
        rows: AnyRows,
        by_response: tuple[PyTree, ...] = (),
        *arguments: PyTree,
    ) -> PyTree[Array]:
        """The results for all responses, on the device, or on the host of each of several processes.

        Other rows fill the last part.

        Args:
            graph, params: the model.
            rows: any number, not packed.
            by_response: arrays with one entry per response.
            arguments: the same for all rows.
        """
        num_rows, row_size = rows.shape
        num_responses = rows.response_lengths.size if isinstance(rows, SharedRows) else num_rows
        parts = micro_batches(num_rows, row_size, self._max_tokens, num_row_shards(self._mesh))
        row_parts = np.resize(np.arange(num_rows), parts)
        with jax.set_mesh(self._mesh):
            taken = (take_rows((rows, *by_response), part, num_rows) for part in row_parts)
            placed = (place(part, self._sharding) for part in taken)
            results = [self._run(graph, params, *part, *arguments) for part in placed]
            return host_or_here(jax.tree.map(lambda *xs: jnp.concatenate(xs)[:num_responses], *results))


def take_rows(arrays: AnyTree, rows: np.ndarray, num_rows: int) -> AnyTree:
    """Some rows of arrays with equally many entries for each of ``num_rows`` rows.

    Example: two rows with two responses each
        >>> take_rows((np.array([5, 6]), np.array([1, 2, 3, 4])), np.array([1]), 2)
        (array([6]), array([3, 4]))
    """

    def take(x: np.ndarray) -> np.ndarray:
        return x.reshape(num_rows, -1, *x.shape[1:])[rows].reshape(-1, *x.shape[1:])

    return jax.tree.map(take, arrays)


def predictor_states(decoder: Decoder, rows: AnyRows) -> Float[Array, "B T D"]:
    """The hidden states that predict the response tokens."""
    if isinstance(rows, SharedRows):
        return _shared_states(decoder, rows)
    tokens, positions, segment_ids, predictors = jax.tree.map(jnp.asarray, rows)
    hidden = decoder(tokens, positions=positions, segment_ids=segment_ids)
    return jnp.take_along_axis(hidden, predictors[:, :, None], axis=1)


def _shared_states(decoder: Decoder, rows: SharedRows) -> Float[Array, "B T D"]:
    """The prompt's last state predicts the first token of each response; its gradient is the sum over the responses."""
    prompts, prompt_lengths, responses, _ = jax.tree.map(jnp.asarray, rows)
    num_rows, num_samples, response_size = responses.shape
    prompt_size = prompts.shape[1]
    of_prompt = jnp.arange(prompt_size)[None] - prompt_size + prompt_lengths[:, None]  # negative: padding
    of_responses = jnp.tile(prompt_lengths[:, None] + jnp.arange(response_size)[None], (1, num_samples))
    tokens = jnp.concatenate([prompts, responses.reshape(num_rows, -1)], axis=1)
    positions = jnp.concatenate([jnp.maximum(of_prompt, 0), of_responses], axis=1)
    attend = shared_attention(decoder.config.attention, of_prompt >= 0, num_samples)
    hidden = decoder.run(tokens, positions, lambda q, k, v: (attend(q, k, v), None))[0]
    last, width = hidden[:, prompt_size - 1], hidden.shape[2]
    first = jnp.broadcast_to(last[:, None, None], (num_rows, num_samples, 1, width))
    own = hidden[:, prompt_size:].reshape(num_rows, num_samples, response_size, width)
    return jnp.concatenate([first, own[:, :, :-1]], axis=2).reshape(-1, response_size, width)


def response_segments(rows: AnyRows) -> Int[Array, "B T"] | None:
    """The segment of each response token; None: one response per row of response tokens."""
    if isinstance(rows, SharedRows) or rows.segment_ids is None:
        return None
    return jnp.take_along_axis(jnp.asarray(rows.segment_ids), rows.predictors, axis=1)


def sampled_log_probs(
    graph: nnx.GraphDef, params: Params, rows: AnyRows, ids: Int[Array, "B T"], temperature: Array
) -> Float[Array, "B T"]:
    """Log-probs of the response tokens ``ids`` at this temperature, under the decoder given by graph and parameters."""
    decoder: Decoder = nnx.merge(graph, params)
    hidden, nothing = predictor_states(decoder, rows), jnp.zeros(0, jnp.int32)
    head, num_tokens = decoder.head(), decoder.config.num_tokens
    return vocab_head(hidden, head, ids, nothing, temperature=temperature, num_tokens=num_tokens).log_probs


def predicted_values(graph: nnx.GraphDef, params: Params, rows: AnyRows) -> Float[Array, "B T"]:
    """Value of the state before each response token, under the critic given by graph and parameters."""
    critic: Critic = nnx.merge(graph, params)
    return critic.values(predictor_states(critic.trunk, rows))

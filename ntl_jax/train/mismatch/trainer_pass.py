# SPDX-License-Identifier: Apache-2.0
"""The trainer's own view of sampled responses: log-probs of their tokens and of the digits, and likely alternatives."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from ntl_jax.metrics.divergence.lines import Alternatives
from ntl_jax.models import Decoder
from ntl_jax.numerals import NumberTable
from ntl_jax.ops import vocab_head
from ntl_jax.ops.head_stats import head_logits
from ntl_jax.records import AnyArray, AnyRows, Params, Rows, Targets, Trajectory
from ntl_jax.rows.padding import RowShape, pad_rows
from ntl_jax.rows.passes import RowPass, predictor_states
from ntl_jax.train.policy import Policy

NUM_ALTERNATIVES = 5


class Scores(NamedTuple):
    """Log-probs of the response tokens and of the ten digits, padded; digits are None for multi-digit tokens."""

    log_probs: Float[AnyArray, "B T"]
    digits: Float[AnyArray, "B T 10"] | None


class Responses(NamedTuple):
    """Sampled responses and their prompts, ragged."""

    prompts: Sequence[Int[np.ndarray, "P"]]
    responses: Sequence[Int[np.ndarray, "T"]]


def responses_of(trajectories: Sequence[Trajectory]) -> Responses:
    """What was asked and sampled."""
    return Responses([t.prompt_ids for t in trajectories], [t.response_ids for t in trajectories])


class TrainerPass:
    """Forward passes of the trainer over sampled responses, one per row.

    Args:
        policy: the policy.
        shape: bounds of rows and responses.
        temperature: of sampling.
        max_tokens: most padded tokens per forward pass.
    """

    def __init__(self, policy: Policy, shape: RowShape, *, temperature: float, max_tokens: int):
        self.policy, self.temperature, self._shape = policy, temperature, shape
        self._score, self._likely = (RowPass(run, policy.mesh, max_tokens) for run in (score_tokens, likely_tokens))

    def scores(
        self, params: Params, of: Responses, *, head: Params | None = None, temperature: float | None = None
    ) -> Scores:
        """Log-probs of responses under these weights.

        Args:
            params: the weights.
            of: the responses.
            head: weights whose vocabulary head is used; None: ``params``.
            temperature: None: that of sampling.
        """
        rows, targets = self._rows(of)
        weights = (params, params if head is None else head)
        at_temperature = np.float32(self.temperature if temperature is None else temperature)
        return jax.device_get(
            self._score(self.policy.graph, weights, rows, (targets.ids,), at_temperature, self.policy.table)
        )

    def alternatives(self, params: Params, of: Responses, positions: Int[np.ndarray, "B"]) -> Alternatives:
        """Entropy and likely tokens at one position of each response, under these weights."""
        rows, _ = self._rows(of)
        arguments = (positions.astype(np.int32),), np.float32(self.temperature)
        return jax.device_get(self._likely(self.policy.graph, params, rows, *arguments))

    def _rows(self, of: Responses) -> tuple[Rows, Targets]:
        nothing = [np.full(len(r), np.nan, np.float32) for r in of.responses]
        return pad_rows(of.prompts, of.responses, self._shape, numbers=nothing)


def score_tokens(
    graph: nnx.GraphDef,
    params: tuple[Params, Params],
    rows: AnyRows,
    ids: Int[Array, "B T"],
    temperature: Array,
    table: NumberTable,
) -> Scores:
    """Log-probs of the response tokens ``ids`` and of the digits; ``params``: of the layers, and of the head."""
    of_layers, of_head = params
    decoder: Decoder = nnx.merge(graph, of_layers)
    head, hidden, has_digits = nnx.merge(graph, of_head).head(), predictor_states(decoder, rows), table.kind == "digits"
    number_ids, num_tokens = table.ids if has_digits else table.ids[:0], decoder.config.num_tokens
    stats = vocab_head(hidden, head, ids, number_ids, temperature=temperature, num_tokens=num_tokens)
    return Scores(stats.log_probs, table.merge_by_value(stats.number_log_probs) if has_digits else None)


def likely_tokens(
    graph: nnx.GraphDef, params: Params, rows: AnyRows, positions: Int[Array, "B"], temperature: Array
) -> Alternatives:
    """Entropy and the most likely tokens at one position of each response."""
    decoder: Decoder = nnx.merge(graph, params)
    states = jnp.take_along_axis(predictor_states(decoder, rows), positions[:, None, None], axis=1)[:, 0]
    logits = head_logits(states, decoder.head(), temperature, decoder.config.num_tokens)
    log_probs = jax.nn.log_softmax(logits)
    entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)
    best, ids = jax.lax.top_k(log_probs, NUM_ALTERNATIVES)
    return Alternatives(entropy, ids, best)

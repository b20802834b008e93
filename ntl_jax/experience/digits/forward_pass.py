# SPDX-License-Identifier: Apache-2.0
"""Log-probs of number tokens at sampled positions, from the trainer's own forward pass and vocabulary head.

Used for engines that capture no digits, and always for multi-digit tokens, of which a vocabulary has hundreds. Trainer
and JAX engine share the head, so their log-probs agree to about 1e-5.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from ntl_jax.losses.numbers import LOSSES, Method, of_same_width, shares, to_digit_scale
from ntl_jax.models import Decoder
from ntl_jax.numerals import DigitLabels, NumberTable, number_targets
from ntl_jax.ops import vocab_head
from ntl_jax.records import AnyRows, NumberReadings, Params, Targets, Trajectory
from ntl_jax.rows.layout import Layout
from ntl_jax.rows.passes import RowPass, predictor_states


class DigitPass:
    """Runs the policy over sampled rows: the ten digits' log-probs, or `readings` for multi-digit tokens.

    Args:
        graph: graph definition of the policy.
        table: the policy's number tokens.
        method: method of the Number Token Loss.
        layout: layout of the rows.
        mesh: mesh of the parameters.
        max_tokens: most padded tokens per forward pass.
    """

    def __init__(
        self, graph: nnx.GraphDef, table: NumberTable, method: Method, layout: Layout, mesh: Mesh, max_tokens: int
    ):
        self._graph, self._layout = graph, layout

        def run(
            graph: nnx.GraphDef, params: Params, rows: AnyRows, targets: Targets, temperature: Array
        ) -> Float[Array, "B T 10"] | NumberReadings:
            decoder: Decoder = nnx.merge(graph, params)
            hidden, (ids, _, numbers) = predictor_states(decoder, rows), map(jnp.asarray, targets)
            head, num_tokens = decoder.head(), decoder.config.num_tokens
            stats = vocab_head(hidden, head, ids, table.ids, temperature=temperature, num_tokens=num_tokens)
            if table.kind == "digits":
                return table.merge_by_value(stats.number_log_probs)
            log_probs, widths = of_same_width(stats.number_log_probs, ids, table)
            losses = LOSSES[method](log_probs, numbers, table.values)
            of_tokens = shares(log_probs, numbers, np.asarray(table.values))
            return NumberReadings(to_digit_scale(losses, widths, method), *of_tokens)

        self._run = RowPass(run, mesh, max_tokens)

    def digit_log_probs(
        self, policy: Params, trajectories: Sequence[Trajectory], temperature: float
    ) -> list[Float[np.ndarray, "T 10"]]:
        """The ten digits' log-probs at every response position, for a table of digits.

        Args:
            policy: the parameters that sampled.
            trajectories: what they sampled.
            temperature: temperature of sampling; 1 for greedy samples.
        """
        nothing = [np.full(len(t.response_ids), np.nan, np.float32) for t in trajectories]
        padded = self._over_rows(policy, trajectories, nothing, temperature)
        assert not isinstance(padded, NumberReadings), "the table has multi-digit tokens"
        return [row[: len(t.response_ids)] for row, t in zip(padded, trajectories, strict=True)]

    def readings(
        self, policy: Params, trajectories: Sequence[Trajectory], labels: Sequence[DigitLabels], temperature: float
    ) -> list[NumberReadings]:
        """Loss and probabilities read from the number tokens at every response position, for a table of numbers.

        Args:
            labels: labels of the responses; the others as in `digit_log_probs`.
        """
        truth = [number_targets(label.truth) for label in labels]
        padded = self._over_rows(policy, trajectories, truth, temperature)
        assert isinstance(padded, NumberReadings), "the table has digits only"
        rows = zip(*padded, strict=True)
        return [
            NumberReadings(*(x[: len(t.response_ids)] for x in row)) for row, t in zip(rows, trajectories, strict=True)
        ]

    def _over_rows(
        self, policy: Params, trajectories: Sequence[Trajectory], truth: Sequence[np.ndarray], temperature: float
    ) -> Float[np.ndarray, "B T 10"] | NumberReadings:
        """The results for all rows, on the host."""
        prompts, responses = [t.prompt_ids for t in trajectories], [t.response_ids for t in trajectories]
        layout = self._layout.of_samples([t.draw for t in trajectories])
        rows, targets = layout.rows(prompts, responses, numbers=truth)
        return jax.device_get(self._run(self._graph, policy, rows, (targets,), temperature))

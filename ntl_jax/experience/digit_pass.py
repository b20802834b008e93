# SPDX-License-Identifier: Apache-2.0
"""What number tokens say about sampled rows, from the trainer's own forward pass and vocabulary head.

For engines that capture nothing, and the only way for tokens of several digits, of which there are hundreds. Trainer
and JAX engine share the head, so that both give the same log-probs to about 1e-5.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from ntl_jax.losses.numbers import LOSSES, Method, Readings, shares
from ntl_jax.losses.numbers.widths import of_same_width, to_digit_scale
from ntl_jax.models import Decoder
from ntl_jax.numerals import DigitLabels, NumberTable, number_targets
from ntl_jax.ops import vocab_head
from ntl_jax.records import TrainBatch, Trajectory
from ntl_jax.rows.padding import RowShape, pad_rows
from ntl_jax.rows.passes import RowPass, predictor_states


class PolicyPass:
    """Scores sampled rows with the policy: the ten digits' log-probs, or what is read off tokens of several digits.

    Args:
        table: the policy's number tokens.
        method: of the losses.
        shape: bounds of rows and responses.
        mesh: of the parameters.
        max_tokens: padded tokens that go through the model at once.
    """

    def __init__(self, table: NumberTable, method: Method, shape: RowShape, mesh: Mesh, max_tokens: int):
        self._shape = shape

        def run(graph: nnx.GraphDef, params: Any, batch: TrainBatch, temperature: Array):
            decoder: Decoder = nnx.merge(graph, params)
            hidden = predictor_states(decoder, batch)
            head, num_tokens = decoder.head(), decoder.config.num_tokens
            stats = vocab_head(hidden, head, batch.targets, table.ids, temperature=temperature, num_tokens=num_tokens)
            if table.kind == "digits":
                return table.merge_by_value(stats.number_log_probs)
            log_probs, widths = of_same_width(stats.number_log_probs, batch.targets, table)
            losses = LOSSES[method](log_probs, batch.number_targets, table.values)
            of_tokens = shares(log_probs, batch.number_targets, np.asarray(table.values))
            return Readings(to_digit_scale(losses, widths, method), *of_tokens)

        self._run = RowPass(run, mesh, max_tokens)

    def digit_log_probs(
        self, decoder: Decoder, trajectories: Sequence[Trajectory], temperature: float
    ) -> list[Float[np.ndarray, "T 10"]]:
        """The ten digits' log-probs at every response position, for a table of digits.

        Args:
            decoder: the policy that sampled.
            trajectories: what it sampled.
            temperature: of the sampling distribution; for greedy samples 1.
        """
        nothing = [np.full(len(t.response_ids), np.nan, np.float32) for t in trajectories]
        padded = self._over_rows(decoder, trajectories, nothing, temperature)
        return [row[: len(t.response_ids)] for row, t in zip(padded, trajectories, strict=True)]

    def readings(
        self, decoder: Decoder, trajectories: Sequence[Trajectory], labels: Sequence[DigitLabels], temperature: float
    ) -> list[Readings]:
        """What the distribution over number tokens says at every response position, for a table of numbers.

        Args:
            labels: of the responses; the others as in `digit_log_probs`.
        """
        truth = [number_targets(label.truth) for label in labels]
        padded = self._over_rows(decoder, trajectories, truth, temperature)
        rows = zip(*padded, strict=True)
        return [Readings(*(x[: len(t.response_ids)] for x in row)) for row, t in zip(rows, trajectories, strict=True)]

    def _over_rows(
        self, decoder: Decoder, trajectories: Sequence[Trajectory], truth: Sequence[np.ndarray], temperature: float
    ):
        """The pass over all rows."""
        batch = pad_rows(
            [t.prompt_ids for t in trajectories],
            [t.response_ids for t in trajectories],
            self._shape,
            number_targets=truth,
        )
        return self._run(*nnx.split(decoder), batch, temperature)

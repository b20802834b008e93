# SPDX-License-Identifier: Apache-2.0
"""The losses of PPO and the models that they train: policy and critic, separate or on one trunk, or only the critic."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from flax import nnx

from ntl_jax.config import RunConfig
from ntl_jax.metrics.sums import MetricSums
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Batch, Experience, Params
from ntl_jax.rows.passes import predicted_values, predictor_states, response_segments
from ntl_jax.update.objectives import Loss, NumberLoss, PolicyObjective, value_objective
from ntl_jax.update.step import Models, Term


@dataclasses.dataclass(frozen=True, eq=False)
class PPOTerms:
    """The losses of an update.

    Args:
        config: its ``algorithm``, ``ntl`` and ``rollout`` sections.
        table: number tokens of the vocabulary.
        policy: graph definition of the policy.
        critic: graph definition of the critic, or None. With ``algorithm.critic=shared`` its only parameters are the
            value head's.
    """

    config: RunConfig
    table: NumberTable
    policy: nnx.GraphDef
    critic: nnx.GraphDef | None

    def of_update(self) -> Sequence[Term]:
        """One term per model, or one for both if they share a trunk."""
        if self.critic is None:
            return [Term(("policy",), self._policy_loss)]
        if self.config.algorithm.critic == "shared":
            return [Term(("policy", "critic"), self._joint_loss)]
        return [Term(("policy",), self._policy_loss), *self.of_warmup()]

    def of_warmup(self) -> Sequence[Term]:
        """The term for critic warm-up: only the critic learns; with a shared trunk, only its value head."""
        return [Term(("critic",), self._value_loss)]

    def have_weight(self, batch: Batch[Experience]) -> bool:
        """Whether any weight in any loss of an update differs from 0."""
        algorithm, ntl, weights = self.config.algorithm, self.config.ntl, batch.weights
        of_surrogate, corrections = weights.loss, batch.tokens.correction_weights
        of_policy_gradient_alone = self.critic is None and not algorithm.entropy_weight
        if of_policy_gradient_alone and corrections is not None:
            of_surrogate = of_surrogate * corrections
        of_numbers = weights.numbers if ntl.enabled and ntl.weight else None
        return any(x is not None and np.any(x) for x in (of_surrogate, of_numbers, weights.reference))

    def critic_params(self, params: Models) -> Params:
        """The critic's parameters, including those of a shared trunk."""
        if self.config.algorithm.critic == "own":
            return params["critic"]
        return nnx.State({"trunk": params["policy"], **params["critic"]})

    def _objective(self, num_tokens: int | None) -> PolicyObjective:
        ntl = self.config.ntl
        number_loss = NumberLoss(self.table, ntl.method, ntl.weight if ntl.enabled else 0.0)
        return PolicyObjective(self.config.algorithm, number_loss, self.config.rollout.temperature, num_tokens)

    def _policy_loss(self, params: Models, batch: Batch[Experience]) -> Loss:
        decoder = nnx.merge(self.policy, params["policy"])
        objective, hidden = self._objective(decoder.config.num_tokens), predictor_states(decoder, batch.rows)
        return objective(hidden, decoder.head(), batch.tokens, batch.weights, response_segments(batch.rows))

    def _value_loss(self, params: Models, batch: Batch[Experience]) -> Loss:
        assert self.critic is not None
        values = predicted_values(self.critic, self.critic_params(params), batch.rows)
        return value_objective(values, batch.tokens, batch.weights, self.config.algorithm)

    def _joint_loss(self, params: Models, batch: Batch[Experience]) -> Loss:
        assert self.critic is not None
        critic = nnx.merge(self.critic, self.critic_params(params))
        hidden, segments = predictor_states(critic.trunk, batch.rows), response_segments(batch.rows)
        objective = self._objective(critic.trunk.config.num_tokens)
        policy = objective(hidden, critic.trunk.head(), batch.tokens, batch.weights, segments)
        value = value_objective(critic.values(hidden), batch.tokens, batch.weights, self.config.algorithm)
        metrics = MetricSums(policy.metrics.means | value.metrics.means, policy.metrics.maxima)
        return Loss(policy.total + value.total, metrics, policy.tokens)

# SPDX-License-Identifier: Apache-2.0
"""What each model minimises on a batch: sums over positions whose weights the batch brings, so that parts add up."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntl_jax.config import AlgorithmSection
from ntl_jax.losses import clipped_value_loss, kl_k1
from ntl_jax.losses.kl import KL_ESTIMATORS, KL_STATISTICS
from ntl_jax.losses.numbers import LOSSES, Method
from ntl_jax.losses.numbers.widths import of_same_width, to_digit_scale
from ntl_jax.metrics.sums import Mean, MetricSums
from ntl_jax.numerals import NumberTable
from ntl_jax.ops import HeadStats, masked_sum, vocab_head_loss
from ntl_jax.records import TrainBatch
from ntl_jax.update.surrogate import anchored, policy_loss, ratios


class NumberLoss(NamedTuple):
    """The Number Token Loss term of an objective: of which tokens, which, how much. Weight 0 leaves it out."""

    table: NumberTable
    method: Method
    weight: float

    @property
    def ids(self) -> Array:
        """Of the tokens whose log-probs it needs."""
        return self.table.ids if self.weight else self.table.ids[:0]

    def per_token(self, stats: HeadStats, tokens: TrainBatch) -> Float[Array, "..."]:
        """The loss of each token with a true number, before its weight."""
        logits, widths = of_same_width(stats.number_log_probs, tokens.targets, self.table)
        losses = LOSSES[self.method](logits, tokens.number_targets, self.table.values)
        return to_digit_scale(losses, widths, self.method)

    def weighed(self, stats: HeadStats, tokens: TrainBatch) -> Float[Array, "..."] | float:
        """Its share of each token's loss."""
        if not self.weight:
            return 0.0
        assert tokens.number_weights is not None
        return self.weight * jnp.where(_numbers(tokens), tokens.number_weights * self.per_token(stats, tokens), 0.0)

    def metrics(self, stats: HeadStats, batch: TrainBatch, group: str) -> dict[str, Mean]:
        """Its mean over the tokens with a true number."""
        if not self.weight:
            return {}
        return {f"{group}/ntl_loss": _mean(self.per_token(stats, batch), _numbers(batch))}


def supervised_objective(
    hidden: Float[Array, "B T D"],
    head: Float[Array, "D V"],
    batch: TrainBatch,
    number_loss: NumberLoss,
    num_tokens: int | None = None,
) -> tuple[Float[Array, ""], MetricSums]:
    """Cross entropy + weight * NTL; ``num_tokens`` as in `vocab_head`."""

    def per_token(stats: HeadStats, tokens: TrainBatch) -> Array:
        assert tokens.weights is not None
        return jnp.where(tokens.mask, -stats.log_probs * tokens.weights, 0.0) + number_loss.weighed(stats, tokens)

    loss, stats = _over_tokens(per_token, hidden, head, batch, number_loss, temperature=1.0, num_tokens=num_tokens)
    means = {"warm_start/cross_entropy": _mean(-stats.log_probs, batch.mask)}
    return loss, MetricSums(means | number_loss.metrics(stats, batch, "warm_start"), {})


@dataclasses.dataclass(frozen=True, eq=False)
class PolicyObjective:
    """The policy's loss: surrogate - entropy bonus + divergence from the reference + weight * NTL, token by token.

    A digit's NTL weighs as much as a token's surrogate, whatever the share of digits.

    Args:
        algorithm: which surrogate, and the weights of the others.
        number_loss: the NTL term.
        temperature: of sampling, at which log-probs are taken.
        num_tokens: see `vocab_head`.
    """

    algorithm: AlgorithmSection
    number_loss: NumberLoss
    temperature: float
    num_tokens: int | None = None

    def __call__(
        self, hidden: Float[Array, "B T D"], head: Float[Array, "D V"], batch: TrainBatch
    ) -> tuple[Float[Array, ""], MetricSums]:
        settings: dict[str, Any] = {"temperature": self.temperature, "num_tokens": self.num_tokens}
        compared = anchored(self.algorithm, hidden, head, batch, **settings)
        loss, stats = _over_tokens(self._per_token, hidden, head, compared, self.number_loss, **settings)
        return loss, self._metrics(stats, batch, compared)

    def _per_token(self, stats: HeadStats, tokens: TrainBatch) -> Array:
        assert tokens.weights is not None
        loss = policy_loss(self.algorithm, stats.log_probs, tokens)
        if self.algorithm.entropy_weight:
            loss -= self.algorithm.entropy_weight * stats.entropy
        loss = tokens.weights * loss
        if tokens.reference_weights is not None:
            loss += tokens.reference_weights * self._divergence(KL_ESTIMATORS, stats, tokens)
        return jnp.where(tokens.mask, loss, 0.0) + self.number_loss.weighed(stats, tokens)

    def _divergence(self, forms: Mapping[str, Callable], stats: HeadStats, tokens: TrainBatch) -> Array:
        assert tokens.reference_log_probs is not None
        return forms[self.algorithm.kl.estimator](stats.log_probs, tokens.reference_log_probs)

    def _metrics(self, stats: HeadStats, batch: TrainBatch, compared: TrainBatch) -> MetricSums:
        """Of the batch, and as it is `anchored`."""
        assert batch.old_log_probs is not None
        clipped = ratios(self.algorithm, stats.log_probs, compared).clipped
        per_token = {
            "actor/pg_loss": policy_loss(self.algorithm, stats.log_probs, compared),
            "actor/ppo_kl": kl_k1(batch.old_log_probs, stats.log_probs),
            "actor/entropy": stats.entropy,
        }
        if clipped is not None:
            per_token["actor/pg_clipfrac"] = clipped
        if batch.reference_weights is not None:
            per_token["actor/kl_loss"] = self._divergence(KL_STATISTICS, stats, batch)
        means = {name: _mean(value, batch.mask) for name, value in per_token.items()}
        deviation = jnp.max(jnp.abs(ratios(self.algorithm, stats.log_probs, batch).ratio - 1.0))
        return MetricSums(means | self.number_loss.metrics(stats, batch, "actor"), {"actor/ratio_deviation": deviation})


def value_objective(
    values: Float[Array, "B T"], batch: TrainBatch, algorithm: AlgorithmSection
) -> tuple[Float[Array, ""], MetricSums]:
    """Clipped squared error of the values against the returns."""
    assert batch.old_values is not None and batch.returns is not None and batch.weights is not None
    per_token = clipped_value_loss(values, batch.old_values, batch.returns, clip=algorithm.value_clip)
    loss = algorithm.value_weight * masked_sum(per_token * batch.weights, batch.mask)
    return loss, MetricSums({"critic/vf_loss": _mean(per_token, batch.mask)}, {})


def _over_tokens(
    per_token: Callable[[HeadStats, TrainBatch], Array],
    hidden: Float[Array, "B T D"],
    head: Float[Array, "D V"],
    batch: TrainBatch,
    number_loss: NumberLoss,
    **settings: Any,
) -> tuple[Float[Array, ""], HeadStats]:
    """The sum over response tokens, and their statistics; ``per_token`` is given what has an entry a token."""
    tokens = batch._replace(tokens=None, positions=None, segment_ids=None)
    return vocab_head_loss(per_token, hidden, head, batch.targets, number_loss.ids, tokens, **settings)


def _numbers(batch: TrainBatch) -> Array:
    return batch.mask & ~jnp.isnan(batch.number_targets)


def _mean(per_token: Array, mask: Array) -> Mean:
    return Mean(masked_sum(per_token, mask), jnp.sum(mask, dtype=jnp.float32))

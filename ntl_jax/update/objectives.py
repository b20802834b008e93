# SPDX-License-Identifier: Apache-2.0
"""What each model minimizes: weighted sums over response tokens. Weights include the denominators, so parts add up.

Objectives are functions of hidden states [B, T, D] and of arrays with one entry per response token, and do not know
where these tokens lie in a row.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ntl_jax.config import AlgorithmSection
from ntl_jax.losses import clipped_value_loss, kl_k1
from ntl_jax.losses.kl import KL_ESTIMATORS, KL_STATISTICS
from ntl_jax.losses.numbers import LOSSES, SupervisedMethod
from ntl_jax.losses.numbers.widths import of_same_width, to_digit_scale
from ntl_jax.metrics.sums import Mean, MetricSums
from ntl_jax.models.sharding import head_spread
from ntl_jax.numerals import NumberTable
from ntl_jax.ops import HeadStats, masked_sum, vocab_head_loss
from ntl_jax.records import AnyArray, Experience, Targets, TokenOutputs, TokenWeights
from ntl_jax.update.surrogate import anchored, policy_loss, ratios


class NumberLoss(NamedTuple):
    """The Number Token Loss term of an objective: number tokens, method and weight. Weight 0 leaves it out."""

    table: NumberTable
    method: SupervisedMethod
    weight: float

    @property
    def ids(self) -> Array:
        """Ids of the tokens whose log-probs the loss needs."""
        return self.table.ids if self.weight else self.table.ids[:0]

    def per_token(self, stats: HeadStats, targets: Targets) -> Float[Array, "..."]:
        """The loss of each token with a true number, before its weight."""
        logits, widths = of_same_width(stats.number_log_probs, jnp.asarray(targets.ids), self.table)
        if self.method == "del":
            logits += stats.log_normalizer[..., None]
        losses = LOSSES[self.method](logits, jnp.asarray(targets.numbers), self.table.values)
        return to_digit_scale(losses, widths, self.method)

    def weighed(self, stats: HeadStats, targets: Targets, weights: TokenWeights) -> Float[Array, "..."] | float:
        """The weighted NTL of each token."""
        if not self.weight:
            return 0.0
        return self.weight * jnp.where(targets.has_number, weights.numbers * self.per_token(stats, targets), 0.0)

    def metrics(self, stats: HeadStats, targets: Targets, group: str) -> dict[str, Mean]:
        """The mean NTL over the tokens with a true number."""
        if not self.weight:
            return {}
        return {f"{group}/ntl_loss": _mean(self.per_token(stats, targets), targets.has_number)}


class Loss(NamedTuple):
    """A loss, its metrics and, for the policy's losses, outputs for each token."""

    total: Float[Array, ""]
    metrics: MetricSums
    tokens: TokenOutputs | None = None


def supervised_objective(
    hidden: Float[Array, "B T D"],
    head: Float[Array, "D V"],
    targets: Targets,
    weights: TokenWeights,
    number_loss: NumberLoss,
    num_tokens: int | None = None,
) -> Loss:
    """Cross entropy + weight * NTL; ``num_tokens`` as in `vocab_head`."""

    def per_token(stats: HeadStats, inputs: tuple[Targets, TokenWeights]) -> Array:
        targets, weights = inputs
        cross_entropy = jnp.where(targets.mask, -stats.log_probs * weights.loss, 0.0)
        return cross_entropy + number_loss.weighed(stats, targets, weights)

    inputs, ids = (targets, weights), jnp.asarray(targets.ids)
    loss, stats = vocab_head_loss(
        per_token,
        hidden,
        head,
        ids,
        number_loss.ids,
        inputs,
        num_tokens=num_tokens,
        spread=head_spread(hidden, head.shape[1]),
    )
    means = {"warm_start/cross_entropy": _mean(-stats.log_probs, targets.mask)}
    metrics = MetricSums(means | number_loss.metrics(stats, targets, "warm_start"), {})
    return Loss(loss, metrics, TokenOutputs(stats.log_probs, stats.entropy))


@dataclasses.dataclass(frozen=True, eq=False)
class PolicyObjective:
    """The policy's loss: surrogate - entropy bonus + divergence from the reference + weight * NTL, token by token.

    A digit's NTL weighs as much as a token's surrogate, whatever the share of digits.

    Args:
        algorithm: the surrogate and the weights of the other terms.
        number_loss: the NTL term.
        temperature: temperature of sampling, at which log-probs are computed.
        num_tokens: see `vocab_head`.
    """

    algorithm: AlgorithmSection
    number_loss: NumberLoss
    temperature: float
    num_tokens: int | None = None

    def __call__(
        self,
        hidden: Float[Array, "B T D"],
        head: Float[Array, "D V"],
        tokens: Experience,
        weights: TokenWeights,
        segments: Int[Array, "B T"] | None = None,
    ) -> Loss:
        """The loss of an update.

        Args:
            hidden: states that predict the response tokens.
            head: the vocabulary head.
            tokens, weights: the update's response tokens and their weights.
            segments: which tokens belong to one response; None: one response per row.
        """
        temperature, num_tokens = self.temperature, self.num_tokens
        compared = anchored(
            self.algorithm, hidden, head, tokens, segments, temperature=temperature, num_tokens=num_tokens
        )
        inputs, ids = (compared, weights), jnp.asarray(tokens.targets.ids)
        loss, stats = vocab_head_loss(
            self._per_token,
            hidden,
            head,
            ids,
            self.number_loss.ids,
            inputs,
            temperature=temperature,
            num_tokens=num_tokens,
            spread=head_spread(hidden, head.shape[1]),
        )
        metrics = self._metrics(stats, tokens, compared, has_reference=weights.reference is not None)
        return Loss(loss, metrics, TokenOutputs(stats.log_probs, stats.entropy))

    def _per_token(self, stats: HeadStats, inputs: tuple[Experience, TokenWeights]) -> Array:
        tokens, weights = inputs
        loss = policy_loss(self.algorithm, stats.log_probs, tokens)
        if self.algorithm.entropy_weight:
            loss -= self.algorithm.entropy_weight * stats.entropy
        loss = weights.loss * loss
        if weights.reference is not None:
            loss += weights.reference * self._divergence(KL_ESTIMATORS, stats, tokens)
        return jnp.where(tokens.mask, loss, 0.0) + self.number_loss.weighed(stats, tokens.targets, weights)

    def _divergence(self, forms: Mapping[str, Callable], stats: HeadStats, tokens: Experience) -> Array:
        assert tokens.reference_log_probs is not None
        return forms[self.algorithm.kl.estimator](stats.log_probs, tokens.reference_log_probs)

    def _metrics(
        self, stats: HeadStats, tokens: Experience, compared: Experience, *, has_reference: bool
    ) -> MetricSums:
        """Metrics of the tokens as given, and as `anchored`."""
        clipped = ratios(self.algorithm, stats.log_probs, compared).clipped
        per_token = {
            "actor/pg_loss": policy_loss(self.algorithm, stats.log_probs, compared),
            "actor/ppo_kl": kl_k1(jnp.asarray(tokens.old_log_probs), stats.log_probs),
            "actor/entropy": stats.entropy,
        }
        if clipped is not None:
            per_token["actor/pg_clipfrac"] = clipped
        if has_reference:
            per_token["actor/kl_loss"] = self._divergence(KL_STATISTICS, stats, tokens)
        means = {name: _mean(value, tokens.mask) for name, value in per_token.items()}
        deviation = jnp.max(jnp.abs(ratios(self.algorithm, stats.log_probs, tokens).ratio - 1.0))
        of_numbers = self.number_loss.metrics(stats, tokens.targets, "actor")
        return MetricSums(means | of_numbers, {"actor/ratio_deviation": deviation})


def value_objective(
    values: Float[Array, "B T"], tokens: Experience, weights: TokenWeights, algorithm: AlgorithmSection
) -> Loss:
    """Clipped squared error of the values against the returns."""
    assert tokens.values is not None
    old, returns = map(jnp.asarray, tokens.values)
    per_token = clipped_value_loss(values, old, returns, clip=algorithm.value_clip)
    loss = algorithm.value_weight * masked_sum(per_token * weights.loss, jnp.asarray(tokens.mask))
    return Loss(loss, MetricSums({"critic/vf_loss": _mean(per_token, tokens.mask)}, {}))


def _mean(per_token: Array, mask: AnyArray) -> Mean:
    return Mean(masked_sum(per_token, jnp.asarray(mask)), jnp.sum(mask, dtype=jnp.float32))

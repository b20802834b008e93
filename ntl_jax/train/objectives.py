# SPDX-License-Identifier: Apache-2.0
"""What each model minimises on a batch. Denominators are those of the whole batch, so micro-batches add up to it."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntl_jax.config import AlgorithmSection
from ntl_jax.losses import (
    aggregate,
    clipped_policy_loss,
    clipped_value_loss,
    kl_k1,
)
from ntl_jax.models import Critic, Decoder
from ntl_jax.numerals import NumberTable
from ntl_jax.ops import HeadStats, masked_sum, vocab_head
from ntl_jax.records import TrainBatch
from ntl_jax.rewards import LOSSES, Method
from ntl_jax.train.figures import Figures, Mean
from ntl_jax.train.number_tokens import of_same_width, to_digit_scale


class Denominators(NamedTuple):
    """Tokens that count, and those with a true number, in the whole batch."""

    tokens: Float[Array, ""]
    numbers: Float[Array, ""]

    @classmethod
    def of(cls, batch: TrainBatch) -> "Denominators":
        return cls(jnp.sum(batch.mask, dtype=jnp.float32), jnp.sum(_numbers(batch), dtype=jnp.float32))


class NumberLoss(NamedTuple):
    """The Number Token Loss term of an objective: which, how much. Weight 0 leaves it out of the program."""

    method: Method
    weight: float


def supervised_objective(
    decoder: Decoder, batch: TrainBatch, denominators: Denominators, table: NumberTable, number_loss: NumberLoss
) -> tuple[Float[Array, ""], Figures]:
    """Cross entropy, mean over tokens, + weight * NTL, mean over number tokens (as in the paper)."""
    stats = _head_stats(decoder, batch, table, number_loss, temperature=1.0)
    cross_entropy = aggregate(-stats.log_probs, batch.mask, num_tokens=denominators.tokens)
    number_term, figures = _number_term(stats, batch, table, number_loss, "warm_start", denominators.numbers)
    means = {"warm_start/cross_entropy": _token_mean(-stats.log_probs, batch)}
    return cross_entropy + number_term, Figures(means | figures, {})


def policy_objective(
    decoder: Decoder,
    batch: TrainBatch,
    denominators: Denominators,
    table: NumberTable,
    number_loss: NumberLoss,
    algorithm: AlgorithmSection,
    temperature: float,
) -> tuple[Float[Array, ""], Figures]:
    """Clipped surrogate + weight * NTL, summed token by token and divided by the same number of tokens.

    A digit's NTL weighs as much as a token's surrogate, whatever the share of digits. Log-probs are those at the
    sampling temperature.
    """
    assert batch.old_log_probs is not None and batch.advantages is not None
    stats = _head_stats(decoder, batch, table, number_loss, temperature)
    clip = {"clip_low": algorithm.clip_low, "clip_high": algorithm.clip_high}
    per_token = clipped_policy_loss(stats.log_probs, batch.old_log_probs, batch.advantages, **clip)
    policy_loss = aggregate(per_token, batch.mask, num_tokens=denominators.tokens)
    number_term, figures = _number_term(stats, batch, table, number_loss, "actor", denominators.tokens)

    log_ratio = jnp.where(batch.mask, stats.log_probs - batch.old_log_probs, 0.0)
    ratio = jnp.exp(log_ratio)
    unclipped = -batch.advantages * ratio
    means = {
        "actor/pg_loss": _token_mean(per_token, batch),
        "actor/pg_clipfrac": _token_mean(per_token > unclipped, batch),
        "actor/ppo_kl": _token_mean(kl_k1(batch.old_log_probs, stats.log_probs), batch),
        "actor/entropy": _token_mean(stats.entropy, batch),
    }
    return policy_loss + number_term, Figures(means | figures, {"actor/ratio_deviation": jnp.max(jnp.abs(ratio - 1.0))})


def value_objective(
    critic: Critic, batch: TrainBatch, denominators: Denominators, algorithm: AlgorithmSection
) -> tuple[Float[Array, ""], Figures]:
    """Clipped squared error of the values against the returns."""
    assert batch.old_values is not None and batch.returns is not None
    values = predicted_values(critic, batch)
    per_token = clipped_value_loss(values, batch.old_values, batch.returns, clip=algorithm.value_clip)
    loss = aggregate(per_token, batch.mask, num_tokens=denominators.tokens)
    return algorithm.value_weight * loss, Figures({"critic/vf_loss": _token_mean(per_token, batch)}, {})


def predicted_values(critic: Critic, batch: TrainBatch) -> Float[Array, "B T"]:
    """The critic's value of the state before each response token."""
    values = critic(batch.tokens, positions=batch.positions, segment_ids=batch.segment_ids)
    return jnp.take_along_axis(values, batch.predictors, axis=1)


def _head_stats(
    decoder: Decoder, batch: TrainBatch, table: NumberTable, number_loss: NumberLoss, temperature: float
) -> HeadStats:
    hidden = decoder(batch.tokens, positions=batch.positions, segment_ids=batch.segment_ids)
    hidden = jnp.take_along_axis(hidden, batch.predictors[:, :, None], axis=1)
    number_ids = table.ids if number_loss.weight else table.ids[:0]
    return vocab_head(hidden, decoder.head(), batch.targets, number_ids, temperature=temperature)


def _number_term(
    stats: HeadStats, batch: TrainBatch, table: NumberTable, number_loss: NumberLoss, group: str, denominator: Array
) -> tuple[Float[Array, ""] | float, dict[str, Mean]]:
    """weight * summed loss over the positions with a true number / denominator, and its mean over them."""
    if not number_loss.weight:
        return 0.0, {}
    logits, widths = of_same_width(stats.number_log_probs, batch.targets, table)
    losses = LOSSES[number_loss.method](logits, batch.number_targets, table.values)
    per_token = to_digit_scale(losses, widths, number_loss.method)
    has_number = _numbers(batch)
    term = aggregate(per_token, has_number, num_tokens=denominator)
    return number_loss.weight * term, {f"{group}/ntl_loss": _mean(per_token, has_number)}


def _numbers(batch: TrainBatch) -> Array:
    return batch.mask & ~jnp.isnan(batch.number_targets)


def _token_mean(per_token: Array, batch: TrainBatch) -> Mean:
    return _mean(per_token, batch.mask)


def _mean(per_token: Array, mask: Array) -> Mean:
    return Mean(masked_sum(per_token, mask), jnp.sum(mask, dtype=jnp.float32))

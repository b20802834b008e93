# SPDX-License-Identifier: Apache-2.0
"""Number Token Loss: losses that know that 71 is closer to 72 than 19 is.

Source: Zausinger et al., "Regress, Don't Guess: A Regression-like Loss on Number Tokens for Language Models", ICML
2025, https://arxiv.org/abs/2411.02083, section 3. Letters: `z` logits, `n` the ids of the M number tokens, `v_j` their
values, `y` the true value at a position, `q = softmax(z[n])`.

Deviations from the paper: `squash` and the mass term are those of its later implementation; the order of the table does
not matter; a position without a defined target is worth exactly 0, with a gradient of exactly 0, whatever its logits
hold; a labeled position whose number logits are all -inf is worth the largest possible loss, with a gradient of 0.

Nothing is shifted: align logits with labels first. Everything is float32, per position in, per position out.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.losses.numbers.mass import number_log_mass, with_number_mass
from ntl_jax.losses.per_token import absolute
from ntl_jax.numerals.table import NumberTable
from ntl_jax.ops.arguments import check_arrays, check_mask, check_numbers, check_same_shape


def number_token_wasserstein(
    number_logits: Float[Array, "... M"],
    targets: Float[Array, "..."],
    values: Float[Array, " M"],
    *,
    squash: float | None = None,
) -> Float[Array, "..."]:
    """NTL-WAS, the expected distance to the true value: `sum_j q_j |v_j - y|`.

    It is the Wasserstein-1 distance between q and the point mass at y (https://arxiv.org/abs/2411.02083). `squash = s`
    (https://github.com/ai4sd/number-token-loss) turns distances d != 0 into `1 + (d - d_min) (s - 1) / (d_max - d_min)`
    with d_min and d_max the smallest and largest gap of two different values: the largest costs s times the smallest.

    Args:
        number_logits: [..., M] logits or log-probs of the number tokens.
        targets: [...] true values, in the units of `values`; NaN where undefined.
        values: [M] values of the number tokens, in any order.
        squash: s > 1, or None for plain distances; 9 is the identity on digits.

    Returns:
        [...] float32; at most `max - min` of the values (s with squash).

    Raises:
        ValueError: shapes that do not fit, or `squash` not above 1.

    Example:
        >>> print(number_token_wasserstein(jnp.zeros((2, 10)), jnp.array([0.0, 4.0]), jnp.arange(10.0)).round(4))
        [4.5 2.5]
    """
    gaps, defined = value_gaps(number_logits, targets, values)
    distances = jnp.abs(gaps)
    largest = jnp.max(values) - jnp.min(values)
    if squash is not None:
        distances, largest = squashed(distances, values, squash), squash
    probs, possible = number_probs(number_logits, defined)
    expected = jnp.sum(probs * distances, axis=-1)
    return jnp.where(defined, jnp.where(possible, expected, largest), 0.0)


def number_token_mse(
    number_logits: Float[Array, "... M"], targets: Float[Array, "..."], values: Float[Array, " M"]
) -> Float[Array, "..."]:
    """NTL-MSE (https://arxiv.org/abs/2411.02083), the squared error of the expected value: `(sum_j q_j v_j - y)^2`.

    Args:
        number_logits: [..., M] logits or log-probs of the number tokens.
        targets: [...] true values; NaN where undefined.
        values: [M] values of the number tokens, in any order.

    Returns:
        [...] float32, in squared units of `values`; at most `(max - min)^2` of the values.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> print(number_token_mse(jnp.zeros((2, 10)), jnp.array([0.0, 4.0]), jnp.arange(10.0)).round(4))
        [20.25 0.25]
    """
    return _of_expectation(number_logits, targets, values, jnp.square)


def number_token_mae(
    number_logits: Float[Array, "... M"], targets: Float[Array, "..."], values: Float[Array, " M"]
) -> Float[Array, "..."]:
    """NTL-MAE (https://arxiv.org/abs/2411.02083), the absolute error of the expected value: `|sum_j q_j v_j - y|`.

    Args:
        number_logits: [..., M] logits or log-probs of the number tokens.
        targets: [...] true values; NaN where undefined.
        values: [M] values of the number tokens, in any order.

    Returns:
        [...] float32, in units of `values`; at most `max - min` of the values.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> print(number_token_mae(jnp.zeros((2, 10)), jnp.array([0.0, 4.0]), jnp.arange(10.0)).round(4))
        [4.5 0.5]
    """
    return _of_expectation(number_logits, targets, values, absolute)


def number_token_huber(
    number_logits: Float[Array, "... M"],
    targets: Float[Array, "..."],
    values: Float[Array, " M"],
    *,
    delta: float = 1.0,
) -> Float[Array, "..."]:
    """NTL-Huber (https://arxiv.org/abs/2411.02083): of `e = sum_j q_j v_j - y`, `e^2 / 2` up to delta, then linear.

    Args:
        number_logits: [..., M] logits or log-probs of the number tokens.
        targets: [...] true values; NaN where undefined.
        values: [M] values of the number tokens, in any order.
        delta: where the parabola `e^2 / 2` turns into the line `delta (|e| - delta / 2)`; above 0.

    Returns:
        [...] float32; at most what an error of `max - min` of the values costs.

    Raises:
        ValueError: shapes that do not fit, or `delta` not above 0.

    Example:
        >>> print(number_token_huber(jnp.zeros((2, 10)), jnp.array([0.0, 4.0]), jnp.arange(10.0)).round(4))
        [4. 0.125]
    """
    check_numbers("above 0: it is the error at which the loss becomes linear", lambda x: x > 0, delta=delta)

    def huber(error: Array) -> Array:
        # e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2)
        size = jnp.abs(error)
        clipped = jnp.minimum(size, delta)
        return clipped * (size - 0.5 * clipped)

    return _of_expectation(number_logits, targets, values, huber)


OF_LOG_PROBS = ("number_token_raft", "number_token_real", "number_token_gaussian")  # mean nothing on bare logits
WITHOUT_BOUND = ("number_token_dist2", "digit_entropy")  # 0 where no number token is possible


def number_token_loss(
    logits: Float[Array, "... V"],
    labels: Int[Array, "..."],
    table: NumberTable,
    *,
    loss: Callable[[Array, Array, Array], Array] = number_token_wasserstein,
    where: Bool[Array, "..."] | None = None,
    mass_term: bool = False,
    max_loss: float | None = None,
) -> Float[Array, "..."]:
    """A number token loss (https://arxiv.org/abs/2411.02083) from logits and labels: 0 where the label is no number.

    Args:
        logits: [..., V], already aligned with the labels (no shift inside).
        labels: [...] token ids; ids outside `[0, V)`, such as -100, are unlabeled.
        table: the number tokens of the vocabulary.
        loss: (number_logits, targets, values) -> [...], such as those above, or a `functools.partial` of one.
        where: [...] bool, the positions that count; all by default.
        mass_term: whether to add the mass term of `with_number_mass`.
        max_loss: for the mass term; by default the loss's own, which it takes where no number token is possible.

    Returns:
        [...] float32, per position; reduce it over the positions that hold a number.

    Raises:
        ValueError: for shapes, a vocabulary of another size, a `where` that is not bool, and a loss that needs
            log-probs, or a bound for the mass term.

    Example:
        >>> table = NumberTable.from_vocab({str(d): d for d in range(10)}, vocab_size=40)
        >>> print(number_token_loss(jnp.zeros((3, 40)), jnp.array([0, 4, 20]), table).round(4))
        [4.5 2.5 0. ]
        >>> print(number_token_loss(jnp.zeros((1, 40)), jnp.array([0]), table, mass_term=True))
        [7.9425]
    """
    check_arrays(logits=logits, labels=labels)
    name = getattr(getattr(loss, "func", loss), "__name__", "")
    if name in OF_LOG_PROBS:
        raise ValueError(f"{name} needs log-probs over the vocabulary, and gets logits here: call it with log-probs")
    if mass_term and max_loss is None and name in WITHOUT_BOUND:
        raise ValueError(f"{name} has no bound: give max_loss, which a position without any number token costs")
    vocab_size = table.token_values.shape[0]
    if logits.shape[-1] != vocab_size:
        raise ValueError(
            f"logits of shape {logits.shape} have {logits.shape[-1]} entries a position, the table was built for "
            f"{vocab_size}: build it with vocab_size={logits.shape[-1]}"
        )
    if labels.shape != logits.shape[:-1]:
        raise ValueError(f"labels {labels.shape} must have the shape {logits.shape[:-1]} of the positions")
    labeled = (labels >= 0) & (labels < vocab_size)
    if where is not None:
        check_mask(where, "where")
        check_same_shape(labels=labels, where=where)
        labeled &= where
    targets = jnp.where(labeled, table.token_values[labels], jnp.nan)
    number_logits = logits[..., table.ids]
    per_position = loss(number_logits, targets, table.values)
    if not mass_term:
        return per_position
    worst = loss(jnp.full_like(table.values, -jnp.inf), table.values[0], table.values) if max_loss is None else max_loss
    defined = ~jnp.isnan(targets)
    log_mass = number_log_mass(logits, number_logits, defined)
    return jnp.where(defined, with_number_mass(per_position, log_mass, worst), 0.0)


def value_gaps(
    scores: Float[Array, "... M"],
    targets: Float[Array, "..."],
    values: Float[Array, " M"],
    *,
    name: str = "number_logits",
) -> tuple[Float[Array, "... M"], Bool[Array, "..."]]:
    """`v_j - y` with 0 in the place of an undefined y, and which positions are defined; ValueError for the shapes."""
    check_arrays(**{name: scores}, targets=targets, values=values)
    if scores.shape[-1:] != values.shape:
        raise ValueError(f"{name} {scores.shape} must end in one entry for each of the values {values.shape}")
    if scores.shape[:-1] != targets.shape:
        raise ValueError(f"targets {targets.shape} must have the shape {scores.shape[:-1]} of the positions")
    targets = targets.astype(jnp.float32)
    defined = jnp.isfinite(targets)
    targets = jnp.broadcast_to(jnp.where(defined, targets, 0.0)[..., None], scores.shape)
    return jnp.broadcast_to(values.astype(jnp.float32), scores.shape) - targets, defined


def _of_expectation(number_logits: Array, targets: Array, values: Array, penalty: Callable[[Array], Array]) -> Array:
    """`penalty(sum_j q_j v_j - y)`; the sum of `q_j (v_j - y)` loses less to rounding than the difference."""
    gaps, defined = value_gaps(number_logits, targets, values)
    probs, possible = number_probs(number_logits, defined)
    error = jnp.sum(probs * gaps, axis=-1)
    largest = penalty(jnp.max(values) - jnp.min(values))
    return jnp.where(defined, jnp.where(possible, penalty(error), largest), 0.0)


def number_probs(
    number_logits: Float[Array, "... M"], defined: Bool[Array, "..."]
) -> tuple[Float[Array, "... M"], Bool[Array, "..."]]:
    """The softmax over number tokens, and where it exists: defined positions with a logit above -inf.

    The first half of the double-where: elsewhere the softmax sees zeros, so that its gradient is exactly 0, never NaN.
    """
    possible = defined & jnp.any(number_logits != -jnp.inf, axis=-1)
    number_logits = jnp.where(possible[..., None], number_logits, 0.0).astype(jnp.float32)
    return jax.nn.softmax(number_logits, axis=-1), possible


def squashed(distances: Float[Array, "..."], values: Float[Array, " M"], squash: float) -> Float[Array, "..."]:
    """Distances of the values rescaled to [1, squash], 0 staying 0; ValueError for a squash not above 1."""
    allowed = "above 1: it is the ratio of the costs of the largest and the smallest distance"
    check_numbers(allowed, lambda x: (x > 1) & (x < jnp.inf), squash=squash)
    steps, largest = jnp.diff(jnp.sort(values)), jnp.max(values) - jnp.min(values)
    smallest = jnp.min(steps, where=steps > 0, initial=jnp.inf)
    spread = largest - smallest
    slope = jnp.where(spread > 0, (squash - 1.0) / jnp.where(spread > 0, spread, 1.0), 0.0)
    return jnp.where(distances > 0, 1.0 + (distances - jnp.minimum(smallest, largest)) * slope, 0.0)

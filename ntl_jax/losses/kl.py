# SPDX-License-Identifier: Apache-2.0
"""Estimates of the divergence from a reference policy, per token, and what sets their coefficient.

With `d = log_probs - ref_log_probs` of tokens sampled from the policy, k1, k2 and k3 estimate KL(policy || reference):
John Schulman, "Approximating KL divergence", http://joschu.net/blog/kl-approx.html. Subtract `beta * k` from the
reward, or add it to the loss; there prefer k2 or a `_plus` form, since the gradient of k1 is zero in expectation and
that of k3 is the gradient of another divergence. The reference is a constant: no gradient flows to it.

A token whose inputs are NaN has estimate NaN and a gradient of exactly zero, and leaves its neighbors alone.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntl_jax.losses.per_token import absolute, clipped_log_ratio, contain
from ntl_jax.ops.arguments import check_not_negative, check_numbers, check_positive, check_same_shape

MAX_LOG_RATIO = 1e9  # no log-probability is that low; it keeps k2 of a -inf finite in value and gradient
K3_MAX_LOG_RATIO = 20.0  # exp(20) is 4.9e8: beyond it k3 only overflows
K3_MAX = 10.0  # bound of a loss term: one token with k3 = 1e8 would dominate the batch
MAX_RELATIVE_ERROR = 0.2  # of the adaptive controller, so that one odd batch moves beta little


def kl_k1(log_probs: Float[Array, "..."], ref_log_probs: Float[Array, "..."]) -> Float[Array, "..."]:
    """`d`: unbiased, may be negative, large variance.

    John Schulman, "Approximating KL divergence", http://joschu.net/blog/kl-approx.html.

    Args:
        log_probs: [...] log-probabilities (nats) of tokens sampled from the policy.
        ref_log_probs: [...] the same tokens under the reference.

    Returns:
        [...] float32.

    Raises:
        ValueError: the shapes do not agree.

    Example:
        >>> kl_k1(jnp.array([-1.0, -1.0]), jnp.array([0.0, -15.0])).tolist()
        [-1.0, 14.0]
    """
    bad, log_ratio = _log_ratio(log_probs, ref_log_probs)
    return jnp.where(bad, jnp.nan, log_ratio)


def kl_abs(log_probs: Float[Array, "..."], ref_log_probs: Float[Array, "..."]) -> Float[Array, "..."]:
    """`|d|`: a distance rather than an estimate of the KL; never negative, with gradient 0 at `d = 0`.

    k1 without its sign; one of the penalties of TRL and verl, https://github.com/volcengine/verl (`kl_penalty`).

    Args:
        log_probs: [...] log-probabilities (nats) of tokens sampled from the policy.
        ref_log_probs: [...] the same tokens under the reference.

    Returns:
        [...] float32.

    Raises:
        ValueError: the shapes do not agree.

    Example:
        >>> kl_abs(jnp.array([-1.0, -1.0]), jnp.array([0.0, -15.0])).tolist()
        [1.0, 14.0]
    """
    bad, log_ratio = _log_ratio(log_probs, ref_log_probs)
    return jnp.where(bad, jnp.nan, absolute(log_ratio))


def kl_k2(log_probs: Float[Array, "..."], ref_log_probs: Float[Array, "..."]) -> Float[Array, "..."]:
    """`d^2 / 2`: little bias while the policies are close, and its gradient is that of the KL in expectation.

    John Schulman, "Approximating KL divergence", http://joschu.net/blog/kl-approx.html.

    Args:
        log_probs: [...] log-probabilities (nats) of tokens sampled from the policy.
        ref_log_probs: [...] the same tokens under the reference.

    Returns:
        [...] float32.

    Raises:
        ValueError: the shapes do not agree.

    Example:
        >>> kl_k2(jnp.array([-1.0, -1.0]), jnp.array([0.0, -15.0])).tolist()
        [0.5, 98.0]
    """
    bad, log_ratio = _log_ratio(log_probs, ref_log_probs)
    return jnp.where(bad, jnp.nan, 0.5 * log_ratio**2)


def kl_k3(log_probs: Float[Array, "..."], ref_log_probs: Float[Array, "..."]) -> Float[Array, "..."]:
    """`exp(-d) + d - 1`: unbiased, never negative, small variance; GRPO's loss term. For metrics use `k3_statistic`.

    John Schulman, "Approximating KL divergence", http://joschu.net/blog/kl-approx.html.

    Deviation: the result is clipped to 10, with gradient 0 above; `kl_k3_plus` keeps a gradient there.

    Args:
        log_probs: [...] log-probabilities (nats) of tokens sampled from the policy.
        ref_log_probs: [...] the same tokens under the reference.

    Returns:
        [...] float32 in [0, 10].

    Raises:
        ValueError: the shapes do not agree.

    Example:
        >>> kl_k3(jnp.array([-1.0, -1.0]), jnp.array([0.0, -15.0])).round(4).tolist()
        [0.718..., 10.0]
    """
    return jnp.minimum(k3_statistic(log_probs, ref_log_probs), K3_MAX)


def k3_statistic(log_probs: Float[Array, "..."], ref_log_probs: Float[Array, "..."]) -> Float[Array, "..."]:
    """k3 for metrics and rejection: `exp(-d) + d - 1` without the clip at 10 of the loss term `kl_k3`.

    John Schulman, "Approximating KL divergence", http://joschu.net/blog/kl-approx.html.

    Deviation: `d` below -20 is taken as -20, where k3 is 4.9e8, because `exp(-d)` would overflow.

    Args:
        log_probs: [...] log-probabilities (nats) of tokens sampled from the policy.
        ref_log_probs: [...] the same tokens under the reference.

    Returns:
        [...] float32, at least 0.

    Raises:
        ValueError: the shapes do not agree.

    Example:
        >>> k3_statistic(jnp.array([-1.0, -1.0]), jnp.array([0.0, -15.0])).round(4).tolist()
        [0.718..., 13.0]
    """
    bad, log_ratio = _log_ratio(log_probs, ref_log_probs)
    log_ratio = jnp.maximum(log_ratio, -K3_MAX_LOG_RATIO)
    # expm1 keeps the d^2/2 that exp(-d) - 1 + d would round away for small d.
    return jnp.where(bad, jnp.nan, jnp.expm1(-log_ratio) + log_ratio)


def kl_k1_plus(log_probs: Float[Array, "..."], ref_log_probs: Float[Array, "..."]) -> Float[Array, "..."]:
    """The value of k1 with the gradient of k2: unbiased in both.

    Why the gradient of k1 will not do: Tang and Munos, "On a few pitfalls in KL divergence gradient estimation for RL",
    https://arxiv.org/abs/2506.09477.

    Args:
        log_probs: [...] log-probabilities (nats) of tokens sampled from the policy.
        ref_log_probs: [...] the same tokens under the reference.

    Returns:
        [...] float32.

    Raises:
        ValueError: the shapes do not agree.

    Example:
        >>> value, slope = jax.value_and_grad(kl_k1_plus)(jnp.array(-1.0), jnp.array(-15.0))
        >>> value.item(), slope.item()
        (14.0, 14.0)
    """
    return _straight_through(kl_k1(log_probs, ref_log_probs), kl_k2(log_probs, ref_log_probs))


def kl_k3_plus(log_probs: Float[Array, "..."], ref_log_probs: Float[Array, "..."]) -> Float[Array, "..."]:
    """The value of k3 with the gradient of k2: small variance in the one, unbiased in the other.

    Why the gradient of k3 will not do: Tang and Munos, "On a few pitfalls in KL divergence gradient estimation for RL",
    https://arxiv.org/abs/2506.09477.

    Args:
        log_probs: [...] log-probabilities (nats) of tokens sampled from the policy.
        ref_log_probs: [...] the same tokens under the reference.

    Returns:
        [...] float32 in [0, 10].

    Raises:
        ValueError: the shapes do not agree.

    Example:
        >>> value, slope = jax.value_and_grad(kl_k3_plus)(jnp.array(-1.0), jnp.array(-15.0))
        >>> value.item(), slope.item()
        (10.0, 14.0)
    """
    return _straight_through(kl_k3(log_probs, ref_log_probs), kl_k2(log_probs, ref_log_probs))


KL_ESTIMATORS = {
    "k1": kl_k1,
    "k2": kl_k2,
    "k3": kl_k3,
    "abs": kl_abs,
    "k1+": kl_k1_plus,
    "k3+": kl_k3_plus,
}
"""Terms of a loss or a reward, by name."""

KL_STATISTICS = KL_ESTIMATORS | {"k3": k3_statistic, "k3+": k3_statistic}
"""The same for metrics: without the clip that keeps one token from dominating the loss of a batch."""


@dataclasses.dataclass(frozen=True)
class FixedKLController:
    """A coefficient that stays what it is; `update` has the signature of the adaptive one.

    Args:
        beta: coefficient of the KL term.

    Raises:
        ValueError: `beta` is negative or not finite.

    Example:
        >>> FixedKLController(0.1).update(kl=3.0, num_samples=64)
        FixedKLController(beta=0.1)
    """

    beta: float

    def __post_init__(self) -> None:
        _check_beta(self.beta)

    def update(self, kl: float, num_samples: int) -> "FixedKLController":
        """Itself, whatever was measured."""
        return self


@dataclasses.dataclass(frozen=True)
class AdaptiveKLController:
    """A coefficient that steers the measured KL to a target: `beta *= 1 + clip(kl/target - 1, -0.2, 0.2) n / horizon`.

    Ziegler et al., "Fine-Tuning Language Models from Human Preferences", section 2.2, https://arxiv.org/abs/1909.08593.
    Immutable and on the host. `dataclasses.asdict` is its state, exact through JSON, `AdaptiveKLController(**state)`
    the way back.

    Args:
        beta: coefficient of the KL term.
        target: the KL (nats, in the unit that `update` is given) to hold.
        horizon: samples over which an error of 20% changes `beta` by about 20%.

    Raises:
        ValueError: `beta` is negative, `target` or `horizon` is not above 0, or one is not finite.

    Example:
        >>> controller = AdaptiveKLController(beta=0.5, target=6.0, horizon=1000)
        >>> controller.update(kl=9.0, num_samples=100).beta
        0.51
        >>> AdaptiveKLController(**dataclasses.asdict(controller)) == controller
        True
    """

    beta: float
    target: float
    horizon: float

    def __post_init__(self) -> None:
        _check_beta(self.beta)
        check_positive(target=self.target, horizon=self.horizon)

    def update(self, kl: float, num_samples: int) -> "AdaptiveKLController":
        """The controller after `num_samples` samples whose mean KL was `kl`.

        Raises:
            ValueError: `kl` is not finite, or `num_samples` is negative, or 5 horizons or more.
        """
        kl = float(kl)
        check_not_negative(num_samples=num_samples)
        if not math.isfinite(kl):
            raise ValueError(f"kl={kl} must be finite: it would stay in beta for ever; stop at the step that gave it")
        if MAX_RELATIVE_ERROR * num_samples >= self.horizon:
            raise ValueError(
                f"num_samples={num_samples} must be under {1 / MAX_RELATIVE_ERROR:g} times horizon={self.horizon}, "
                "or one update could make beta negative; raise the horizon"
            )
        error = min(max(kl / self.target - 1.0, -MAX_RELATIVE_ERROR), MAX_RELATIVE_ERROR)
        return dataclasses.replace(self, beta=self.beta * (1.0 + error * num_samples / self.horizon))


def _log_ratio(log_probs: Array, ref_log_probs: Array) -> tuple[Array, ...]:
    """Which tokens are bad, then `d` with 0 there."""
    check_same_shape(log_probs=log_probs, ref_log_probs=ref_log_probs)
    return contain(clipped_log_ratio(log_probs, ref_log_probs, MAX_LOG_RATIO))


def _straight_through(value: Array, gradient: Array) -> Array:
    """The first in value, the second in gradient."""
    return jax.lax.stop_gradient(value) + (gradient - jax.lax.stop_gradient(gradient))


def _check_beta(beta: float) -> None:
    check_numbers("a finite number of at least 0", lambda x: (x >= 0) & (x < math.inf), beta=beta)

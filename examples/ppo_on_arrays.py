# SPDX-License-Identifier: Apache-2.0
"""PPO on plain arrays: a reward that knows how far off a number is teaches what exact match cannot.

The policy is a table of logits: for each of eight questions, five digits. A guess is right once in a hundred thousand,
so a reward for exact match is the same for all 16 samples of a question, and their advantages are 0. A reward that also
sees how far off the digits are ranks them, and the policy learns every answer.

    python examples/ppo_on_arrays.py
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ntl_jax.losses import aggregate, clipped_policy_loss, group_advantages, kl_k3

Policy = Float[Array, "Q T 10"]
Digits = Int[Array, "B T"]

QUESTIONS, SAMPLES, DIGITS = 8, 16, 5
ROWS = jnp.repeat(jnp.arange(QUESTIONS), SAMPLES)  # [B] the question that each sample answers
MASK = jnp.ones((QUESTIONS * SAMPLES, DIGITS), bool)  # [B, T] the tokens that the policy wrote: here all
ANSWERS = jax.random.randint(jax.random.key(1), (QUESTIONS, DIGITS), 0, 10)[ROWS]
REFERENCE = jnp.zeros((QUESTIONS, DIGITS, 10))  # every digit is as likely as any other


def exact_match(digits: Digits) -> Float[Array, "B"]:
    return jnp.all(digits == ANSWERS, axis=-1).astype(jnp.float32)


def nearness(digits: Digits) -> Float[Array, "B"]:
    ntl = jnp.mean(jnp.abs(digits - ANSWERS), axis=-1)  # NTL-WAS of the digits that were sampled
    return 0.5 * exact_match(digits) + 0.5 * jnp.exp(-ntl)


def log_probs_of(policy: Policy, digits: Digits) -> Float[Array, "B T"]:
    return jnp.take_along_axis(jax.nn.log_softmax(policy)[ROWS], digits[..., None], axis=-1)[..., 0]


def loss_fn(
    policy: Policy, digits: Digits, old_log_probs: Float[Array, "B T"], advantages: Float[Array, "B"]
) -> Float[Array, ""]:
    log_probs = log_probs_of(policy, digits)
    surrogate = clipped_policy_loss(log_probs, old_log_probs, advantages[:, None], clip_high=0.28)
    return aggregate(surrogate + 1e-3 * kl_k3(log_probs, log_probs_of(REFERENCE, digits)), MASK)


def train(
    reward: Callable[[Digits], Float[Array, "B"]],
    num_iterations: int = 150,
    num_updates: int = 2,
    learning_rate: float = 20.0,
) -> Float[Array, "iterations"]:
    """The share of right samples in each iteration."""

    def iteration(policy: Policy, key: PRNGKeyArray) -> tuple[Policy, Float[Array, ""]]:
        digits = jax.random.categorical(key, policy[ROWS])
        old_log_probs = log_probs_of(policy, digits)  # once, before the first update
        advantages = group_advantages(reward(digits), ROWS)
        for _ in range(num_updates):
            policy -= learning_rate * jax.grad(loss_fn)(policy, digits, old_log_probs, advantages)
        return policy, jnp.mean(exact_match(digits))

    return jax.lax.scan(iteration, REFERENCE, jax.random.split(jax.random.key(0), num_iterations))[1]


def main() -> dict[str, float]:
    curves = {"exact match": train(exact_match), "nearness": train(nearness)}
    print("right samples after   start   50   100   150 iterations")
    for name, right in curves.items():
        print(f"{name:19}", *(f"{share:6.0%}" for share in (right[0], right[49], right[99], right[149])))
    return {name: float(right[-1]) for name, right in curves.items()}


if __name__ == "__main__":
    main()

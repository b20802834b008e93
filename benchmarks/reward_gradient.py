# SPDX-License-Identifier: Apache-2.0
"""What an update with the NTL reward adds up to for one digit, beside the gradient of the reward's mean.

The policy is a softmax over the ten digits, and the answer is one digit, whose prefix all samples share. The objective
is the mean of the reward 0.5 [d = y] + 0.5 exp(-L(p)), L being the Wasserstein NTL of the policy's own probabilities p.
Its gradient has two parts: the sampled digit's, which policy optimization estimates from samples, and that of L(p).
All expectations are sums over the ten digits, and over the number of right ones among G samples.

    python -m benchmarks.reward_gradient           # writes benchmarks/results/reward_gradient.json, in seconds
    python -m benchmarks.reward_gradient --quick   # the same; nothing is written
"""

import argparse
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from benchmarks.measure import RESULTS, machine, write
from ntl_jax.losses import number_token_wasserstein

NUM_SAMPLES, TRUTH, ACTOR_WEIGHT = 8, 5, 0.1
DIGITS = jnp.arange(10.0)
POLICIES = {
    "guesses all digits alike": np.full(10, 0.1),
    "is off by one: 0.9 on 6": np.where(np.arange(10) == 6, 0.9, 0.1 / 9),
    "is far off: 0.9 on 9": np.where(np.arange(10) == 9, 0.9, 0.1 / 9),
    "is far off and sure: 0.999 on 9": np.where(np.arange(10) == 9, 0.999, 0.001 / 9),
    "is nearly right: 0.6 on 5, 0.4 on 6": np.where(np.arange(10) == 5, 0.6, np.where(np.arange(10) == 6, 0.4, 1e-6)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    result = {name: gradients(jnp.log(jnp.array(p / p.sum()))) for name, p in POLICIES.items()}
    print(json.dumps(result, indent=1)) if args.quick else write(
        {"machine": machine()} | result, RESULTS / "reward_gradient.json"
    )


def gradients(logits: Float[Array, "10"]) -> dict[str, float]:
    """Sizes of the parts of the gradient of the logits, and how well the update's direction fits the objective's."""
    truth = jnp.array(float(TRUTH))

    def right(logits: Array) -> Array:
        return jax.nn.softmax(logits)[TRUTH]

    def loss(logits: Array) -> Array:
        return number_token_wasserstein(logits, truth, DIGITS)

    def objective(logits: Array) -> Array:
        return 0.5 * right(logits) + 0.5 * jnp.exp(-loss(logits))

    whole, of_right, of_loss = (np.asarray(jax.grad(f)(logits), np.float64) for f in (objective, right, loss))
    share = float(right(logits))
    sampled = advantage_scale(share) * of_right
    with_actor = sampled - ACTOR_WEIGHT * of_loss
    return {
        "probability of the truth": round(share, 6),
        "objective's gradient": _size(whole),
        "its part through sampled digits": _size(0.5 * of_right),
        "expected update, NTL in the reward": _size(sampled),
        "its cosine with the objective's": _cosine(sampled, whole),
        "with the actor's term at 0.1": _size(with_actor),
        "cosine with the objective's": _cosine(with_actor, whole),
        "share of groups that teach": round(1.0 - share**NUM_SAMPLES - (1.0 - share) ** NUM_SAMPLES, 6),
    }


def advantage_scale(share: float) -> float:
    """Of the gradient of the truth's probability, in the expected update of G samples with rewards 0.5 r + constant.

    A sample's advantage is its reward less the group's mean, over the group's standard deviation, with n - 1. The part
    of the reward that all samples have in common is in neither. With k of G right, the update is
    1/G sum_i A_i grad log p(d_i), whose expectation over the digits given k is proportional to the gradient of the
    truth's probability p, by a factor of sum_right A / (G p) - sum_wrong A / (G (1 - p)).
    """
    scale = 0.0
    for k in range(1, NUM_SAMPLES):
        mean = k / NUM_SAMPLES
        deviation = math.sqrt(NUM_SAMPLES / (NUM_SAMPLES - 1) * mean * (1 - mean))
        above, below = (1 - mean) / deviation, -mean / deviation
        factor = k * above / (NUM_SAMPLES * share) - (NUM_SAMPLES - k) * below / (NUM_SAMPLES * (1 - share))
        scale += math.comb(NUM_SAMPLES, k) * share**k * (1 - share) ** (NUM_SAMPLES - k) * factor
    return scale


def _size(gradient: np.ndarray) -> float:
    return round(float(np.linalg.norm(gradient)), 6)


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    return round(float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second))), 4)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Every advantage and every objective learns a bandit: questions with a right answer of two tokens, as a table.

The rewards are fractions, a half for each right token: an algorithm that truncated them would learn nothing here.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.config import AlgorithmSection, ClippedSection, GspoSection
from ntl_jax.experience.credit import Rewards, credit, token_rewards
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Experience, Targets
from ntl_jax.update.objectives import NumberLoss, PolicyObjective, value_objective
from ntl_jax.update.token_weights import policy_weights

QUESTIONS, SAMPLES, TOKENS, VOCAB = 4, 8, 2, 10
ROWS = np.repeat(np.arange(QUESTIONS), SAMPLES)
MASK = np.ones((len(ROWS), TOKENS), bool)
ANSWERS = np.arange(QUESTIONS * TOKENS).reshape(QUESTIONS, TOKENS)[ROWS]
TABLE = NumberTable.from_vocab({str(d): d for d in range(10)}, vocab_size=VOCAB)
SEQUENCE_MEAN = "seq-mean-token-mean"
ALGORITHMS = {
    "group": {},
    "group without deviation": {"normalize_groups": False},
    "leave one out": {"advantage": "leave_one_out"},
    "reinforce++": {"advantage": "reinforce_plus_plus"},
    "reinforce++ baseline": {"advantage": "reinforce_plus_plus_baseline"},
    "optimal baseline": {"advantage": "optimal_baseline"},
    "remax": {"advantage": "remax"},
    "gdpo": {"advantage": "gdpo"},
    "gae": {"advantage": "gae"},
    "dual clip": {"clipped": ClippedSection(dual_clip=3.0, clip_high=0.28), "entropy_weight": 0.001},
    "gspo": {"objective": "gspo", "gspo": GspoSection(clip_low=0.1, clip_high=0.1), "aggregation": SEQUENCE_MEAN},
    "cispo": {"objective": "cispo", "aggregation": "seq-mean-token-sum-norm"},
    "sapo": {"objective": "sapo", "aggregation": SEQUENCE_MEAN},
    "reinforce": {"objective": "reinforce", "aggregation": "seq-mean-token-mean"},
}


def rewards_of(tokens):
    return (tokens == ANSWERS).mean(axis=1).astype(np.float32)


@functools.cache
def compiled(algorithm: AlgorithmSection):
    """One update of the tables."""
    policy_loss = PolicyObjective(algorithm, NumberLoss(TABLE, "mse", 0.0), temperature=1.0)

    def loss(tables, tokens, weights):
        total = policy_loss(tables["policy"][ROWS], jnp.eye(VOCAB), tokens, weights).total
        if tokens.values is not None:
            values = jnp.broadcast_to(tables["values"][ROWS], MASK.shape)
            total += value_objective(values, tokens, weights, algorithm).total
        return total

    def update(tables, tokens, weights):
        return jax.tree.map(lambda x, g: x - 10.0 * g, tables, jax.grad(loss)(tables, tokens, weights))

    return jax.jit(update)


@functools.partial(jax.jit, static_argnums=0)
def credited(algorithm: AlgorithmSection, rewards: Rewards, values):
    return credit(algorithm, rewards, token_rewards(rewards, TOKENS), jnp.asarray(MASK), values)


def train(algorithm: AlgorithmSection, iterations: int = 40) -> tuple[float, float]:
    """The mean reward of the first and of the last five iterations."""
    rng = np.random.default_rng(0)
    tables = {"policy": jnp.zeros((QUESTIONS, TOKENS, VOCAB)), "values": jnp.zeros((QUESTIONS, 1))}
    # Algorithms that differ in the advantage or the aggregation share an update.
    shared = dataclasses.replace(algorithm, advantage="group", normalize_groups=True, aggregation="token-mean")
    update, means = compiled(shared), []
    for _ in range(iterations):
        logits = np.asarray(tables["policy"])[ROWS]
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        tokens = np.argmax(log_probs + rng.gumbel(size=log_probs.shape), axis=-1)
        old = np.take_along_axis(log_probs, tokens[..., None], axis=-1)[..., 0]
        scores = rewards_of(tokens)
        greedy = rewards_of(np.argmax(logits, axis=-1))
        rewards = Rewards(scores, ROWS, MASK.sum(axis=1), MASK[:, 0], greedy, tokens == ANSWERS)
        values = jnp.broadcast_to(tables["values"][ROWS], MASK.shape)
        advantages, values = credited(algorithm, rewards, values)
        targets = Targets(tokens, MASK, np.full(MASK.shape, np.nan, np.float32))
        experience = Experience(targets, old, np.asarray(advantages), values=values)
        weights = policy_weights(experience, mode=algorithm.aggregation, scale=TOKENS)
        for _ in range(2):
            tables = update(tables, experience, weights)
        means.append(scores.mean())
    return float(np.mean(means[:5])), float(np.mean(means[-5:]))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ("group", "gae") else pytest.mark.slow) for name in ALGORITHMS]
)
def test_an_algorithm_learns_from_fractional_rewards(name):
    before, after = train(AlgorithmSection(**ALGORITHMS[name]))
    assert after > before + 0.3

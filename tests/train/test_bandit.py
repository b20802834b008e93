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
from ntl_jax.experience.credit import Rewards, with_advantages
from ntl_jax.numerals import NumberTable
from ntl_jax.records import TrainBatch
from ntl_jax.update.objectives import NumberLoss, PolicyObjective, value_objective
from ntl_jax.update.weights import weighed

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

    def loss(tables, batch):
        total = policy_loss(tables["policy"][ROWS], jnp.eye(VOCAB), batch)[0]
        if batch.returns is not None:
            total += value_objective(jnp.broadcast_to(tables["values"][ROWS], MASK.shape), batch, algorithm)[0]
        return total

    return jax.jit(lambda tables, batch: jax.tree.map(lambda x, g: x - 10.0 * g, tables, jax.grad(loss)(tables, batch)))


def train(algorithm: AlgorithmSection, iterations: int = 40) -> tuple[float, float]:
    """The mean reward of the first and of the last five iterations."""
    rng = np.random.default_rng(0)
    tables = {"policy": jnp.zeros((QUESTIONS, TOKENS, VOCAB)), "values": jnp.zeros((QUESTIONS, 1))}
    # Algorithms that differ in the advantage or the aggregation share an update.
    shared = dataclasses.replace(algorithm, advantage="group", normalize_groups=True, aggregation="token-mean")
    update, means = compiled(shared), []
    places = np.broadcast_to(np.arange(TOKENS, dtype=np.int32), MASK.shape)
    for _ in range(iterations):
        logits = np.asarray(tables["policy"])[ROWS]
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        tokens = np.argmax(log_probs + rng.gumbel(size=log_probs.shape), axis=-1)
        old = np.take_along_axis(log_probs, tokens[..., None], axis=-1)[..., 0]
        scores = rewards_of(tokens)
        per_token = np.zeros(MASK.shape, np.float32)
        per_token[:, -1] = scores
        values = np.broadcast_to(np.asarray(tables["values"])[ROWS], MASK.shape)
        rewards = Rewards(per_token, ROWS, MASK.sum(axis=1), MASK[:, 0], rewards_of(np.argmax(logits, axis=-1)))
        batch = TrainBatch(tokens, places, None, places, tokens, MASK, np.full(MASK.shape, np.nan, np.float32))
        batch = with_advantages(algorithm, batch._replace(old_log_probs=old, old_values=values), rewards)
        batch = weighed(batch, mode=algorithm.aggregation, scale=TOKENS)
        for _ in range(2):
            tables = update(tables, batch)
        means.append(scores.mean())
    return float(np.mean(means[:5])), float(np.mean(means[-5:]))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_learns_from_fractional_rewards(name):
    before, after = train(AlgorithmSection(**ALGORITHMS[name]))
    assert after > before + 0.3

# SPDX-License-Identifier: Apache-2.0
"""Rows that share a prompt give every objective's gradient, with every term of the loss, as rows of their own do."""

import jax
import numpy as np
import optax
import pytest

from ntl_jax.config import KLSection
from ntl_jax.models import batch_sharding, make_mesh, shardings
from ntl_jax.update.step import Learner, make_step
from ntl_jax.update.token_weights import policy_weights
from tests.update.conftest import sharing

MESH = make_mesh((1, 1, 1))


@pytest.fixture(scope="module")
def complete(batch):
    """The batch with corrections, a rejected response, and the divergence from a reference policy."""
    rng, tokens = np.random.default_rng(3), batch.tokens
    mask = tokens.mask & (np.arange(len(tokens.mask)) != 5)[:, None]
    experience = tokens._replace(
        targets=tokens.targets._replace(mask=mask),
        correction_weights=rng.uniform(0, 2, mask.shape).astype(np.float32),
        reference_log_probs=tokens.old_log_probs + rng.normal(0, 0.1, mask.shape).astype(np.float32),
    )
    return batch._replace(tokens=experience, weights=policy_weights(experience, scale=8, reference_weight=0.3))


@pytest.mark.parametrize(
    ("objective", "critic"),
    [
        *((name, None) for name in ("clipped", "gspo", "cispo", "sapo", "reinforce")),
        ("clipped", "own"),
        ("gspo", "shared"),
    ],
)
def test_the_gradient_of_every_objective_is_that_of_padded_rows(small, complete, objective, critic):
    advantage = {"advantage": "group"} if critic is None else {"advantage": "gae", "critic": critic}
    terms = small.terms(objective=objective, entropy_weight=0.1, kl=KLSection(weight=0.3), **advantage)
    learners = {name: Learner(optax.sgd(1.0), name) for name in small.models(terms)}
    step = make_step(terms.of_update(), learners, 10_000, shardings(small.state(terms, MESH), MESH))
    before, moved = jax.device_get(small.state(terms, MESH).params), []
    for rows in (complete, sharing(complete, 2)):
        state, *_ = step(small.state(terms, MESH), jax.device_put(rows, batch_sharding(MESH)))
        moved.append(jax.tree.map(lambda after, old: np.asarray(after, np.float64) - old, state.params, before))
    error = optax.tree.norm(jax.tree.map(np.subtract, *moved))
    assert error <= 2e-6 * optax.tree.norm(moved[0]) + 1e-7 * optax.tree.norm(before)

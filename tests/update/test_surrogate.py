# SPDX-License-Identifier: Apache-2.0
"""The surrogate of each token: off-policy weights, GSPO's shared ratio, and which ratios count as clipped."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax import losses
from ntl_jax.config import AlgorithmSection, CispoSection, ClippedSection, GspoSection
from ntl_jax.ops import vocab_head_dense
from ntl_jax.records import Experience, Targets
from ntl_jax.update import surrogate
from ntl_jax.update.surrogate import ratios

policy_loss = jax.jit(surrogate.policy_loss, static_argnums=0)
anchored: Any = jax.jit(surrogate.anchored, static_argnums=0)
OBJECTIVES = ["clipped", "gspo", "cispo", "sapo", "reinforce"]
MASK = np.array([[True, True, True, False], [True, True, False, False]])


@pytest.fixture(scope="module")
def tokens() -> Experience:
    rng = np.random.default_rng(0)
    old, advantages = rng.normal(size=(2, 2, 4)).astype(np.float32)
    targets = Targets(rng.integers(0, 6, (2, 4)), MASK, np.full((2, 4), np.nan, np.float32))
    return Experience(targets, old * np.float32(0.3) - 3, advantages)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_weight_of_a_correction_is_a_weight_on_the_loss(tokens, objective):
    algorithm = AlgorithmSection(objective=objective, clipped=ClippedSection(dual_clip=1.5))
    weights = np.random.default_rng(2).choice([0.0, 0.3, 2.0], MASK.shape).astype(np.float32)
    log_probs = tokens.old_log_probs + np.float32(0.5)
    corrected = policy_loss(algorithm, log_probs, tokens._replace(correction_weights=weights))
    expected = weights * np.asarray(policy_loss(algorithm, log_probs, tokens))
    np.testing.assert_allclose(corrected, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_at_a_ratio_of_one_every_objective_has_the_policy_gradient(tokens, objective):
    """The derivative by a token's log-prob is minus its advantage, whatever clips, gates and weights there are."""

    def total(log_probs):
        return jnp.sum(policy_loss(AlgorithmSection(objective=objective), log_probs, tokens))

    gradient = jax.jit(jax.grad(total))(tokens.old_log_probs)
    np.testing.assert_allclose(gradient, -tokens.advantages, rtol=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_objective_reads_its_own_section_and_no_other(tokens, objective):
    log_probs = tokens.old_log_probs + np.random.default_rng(1).normal(size=MASK.shape).astype(np.float32)
    sections: dict[str, Any] = {
        "clipped": ClippedSection(clip_low=0.9, clip_high=0.9),
        "gspo": GspoSection(clip_low=0.9, clip_high=0.9),
        "cispo": CispoSection(clip_low=0.9, clip_high=0.9),
    }
    of_others = {name: section for name, section in sections.items() if name != objective}
    plain, others, own = (
        np.asarray(policy_loss(AlgorithmSection(objective=objective, **settings), log_probs, tokens))
        for settings in ({}, of_others, sections)
    )
    np.testing.assert_array_equal(others, plain)
    assert (objective in sections) == bool(np.any(own != plain))


@pytest.fixture(scope="module")
def head():
    """Hidden states and a head."""
    rng = np.random.default_rng(1)
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in ((2, 4, 3), (3, 6)))


@jax.jit
def said(hidden, head, ids, temperature):
    return vocab_head_dense(hidden, head, ids, jnp.zeros(0, jnp.int32), temperature=temperature)


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name != "gspo"])
def test_only_gspo_compares_with_anything_but_the_old_log_probs(tokens, head, objective):
    algorithm = AlgorithmSection(objective=objective)
    hidden, matrix = head
    assert surrogate.anchored(algorithm, hidden, matrix, tokens, None, temperature=1.0) is tokens


@pytest.mark.parametrize("segments", [None, np.array([[1, 2, 2, 0], [1, 1, 0, 0]])], ids=["rows", "segments"])
def test_with_gspo_each_tokens_ratio_is_its_responses_and_its_loss_that_of_the_plain_formula(tokens, head, segments):
    algorithm = AlgorithmSection(objective="gspo")
    hidden, matrix = head
    log_probs = said(hidden, matrix, tokens.targets.ids, temperature=0.7).log_probs
    compared = anchored(algorithm, hidden, matrix, tokens, segments, temperature=0.7)
    found = np.asarray(log_probs) - np.asarray(compared.old_log_probs)
    difference = np.asarray(log_probs) - tokens.old_log_probs
    responses = [(0, [0, 1, 2]), (1, [0, 1])] if segments is None else [(0, [0]), (0, [1, 2]), (1, [0, 1])]
    for row, at in responses:
        np.testing.assert_allclose(found[row, at], difference[row, at].mean(), rtol=1e-4)
    old, advantages, mask = map(jnp.asarray, (tokens.old_log_probs, tokens.advantages, MASK))
    expected = jax.jit(losses.gspo_policy_loss)(log_probs, old, advantages, mask, segment_ids=segments)
    loss = policy_loss(algorithm, log_probs, compared)
    np.testing.assert_allclose(np.asarray(loss)[MASK], np.asarray(expected)[MASK], rtol=1e-5)


def test_gspo_gives_no_gradient_to_what_it_compares_with(tokens, head):
    @jax.jit
    def total(hidden):
        compared = anchored(AlgorithmSection(objective="gspo"), hidden, head[1], tokens, None, temperature=1.0)
        return jnp.sum(compared.old_log_probs)

    assert not jnp.any(jax.grad(total)(head[0]))


@pytest.mark.parametrize(
    ("settings", "clipped"),
    [
        # Ratios 0.5, 1, 2 with advantage 1, then the same with -1: PPO's clip acts on one side.
        ({"objective": "clipped"}, [[0, 0, 1], [1, 0, 0]]),
        ({"objective": "clipped", "clipped": ClippedSection(clip_high=1.5)}, [[0, 0, 0], [1, 0, 0]]),
        ({"objective": "gspo"}, [[0, 0, 1], [1, 0, 0]]),
        ({"objective": "cispo"}, [[0, 0, 1], [0, 0, 1]]),
        ({"objective": "cispo", "cispo": CispoSection(clip_low=0.2)}, [[1, 0, 1], [1, 0, 1]]),
        ({"objective": "sapo"}, None),
        ({"objective": "reinforce"}, None),
    ],
    ids=str,
)
def test_clipped_are_the_tokens_that_the_clip_holds_back(settings, clipped):
    ratio = np.tile(np.array([0.5, 1.0, 2.0, 9.0], np.float32), (2, 1))
    mask, zeros = np.tile([True, True, True, False], (2, 1)), np.zeros((2, 4), np.float32)
    targets = Targets(np.zeros((2, 4), np.int32), mask, zeros)
    advantages = np.array([[1.0], [-1.0]], np.float32) * np.ones_like(ratio)
    tokens = Experience(targets, zeros, advantages)
    found = jax.jit(ratios, static_argnums=0)(AlgorithmSection(**settings), np.log(ratio), tokens)
    np.testing.assert_allclose(found.ratio, np.where(mask, ratio, 1.0), rtol=1e-6)
    if clipped is None:
        assert found.clipped is None
    else:
        np.testing.assert_array_equal(np.asarray(found.clipped)[:, :3], np.array(clipped, bool))
        assert not np.asarray(found.clipped)[:, 3].any()

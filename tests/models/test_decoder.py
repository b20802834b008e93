# SPDX-License-Identifier: Apache-2.0
"""The decoder's properties that need no reference implementation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ntl_jax.models import Decoder, ModelConfig, make_mesh, shardings
from ntl_jax.ops import vocab_head

CONFIG = ModelConfig(vocab_size=64, num_layers=2, width=32, num_heads=4, num_kv_heads=2, head_dim=8, feed_forward=64)


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(CONFIG, rngs=nnx.Rngs(0))


def random_tokens(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CONFIG.vocab_size, shape)


def test_later_tokens_do_not_change_earlier_hidden_states(decoder):
    tokens = random_tokens(2, 10)
    changed = tokens.copy()
    changed[:, 6:] = (changed[:, 6:] + 1) % CONFIG.vocab_size
    before, after = decoder(tokens), decoder(changed)
    np.testing.assert_array_equal(before[:, :6], after[:, :6])
    assert not np.allclose(before[:, 6:], after[:, 6:])


def test_padding_after_a_row_changes_nothing_in_it(decoder):
    tokens = random_tokens(1, 6)
    padded = np.concatenate([tokens, random_tokens(1, 4, seed=1)], axis=1)
    segment_ids = np.array([[1] * 6 + [0] * 4])
    np.testing.assert_allclose(decoder(padded, segment_ids=segment_ids)[:, :6], decoder(tokens), atol=2e-6)


def test_packed_sequences_have_the_hidden_states_of_separate_rows(decoder):
    first, second = random_tokens(1, 5), random_tokens(1, 7, seed=1)
    packed = decoder(
        np.concatenate([first, second], axis=1),
        positions=np.concatenate([np.arange(5), np.arange(7)])[None],
        segment_ids=np.array([[1] * 5 + [2] * 7]),
    )
    np.testing.assert_allclose(packed[:, :5], decoder(first), atol=2e-6)
    np.testing.assert_allclose(packed[:, 5:], decoder(second), atol=2e-6)


def test_hidden_states_depend_on_relative_positions_alone(decoder):
    tokens = random_tokens(1, 6)
    shifted = decoder(tokens, positions=np.arange(6)[None] + 100)
    np.testing.assert_allclose(shifted, decoder(tokens), atol=2e-5)
    stretched = decoder(tokens, positions=np.arange(6)[None] * 3)
    assert not np.allclose(stretched, decoder(tokens), atol=1e-3)


def test_a_tied_head_is_the_embedding_and_an_untied_one_is_not(decoder):
    np.testing.assert_array_equal(decoder.head(), decoder.embedding[...].T)
    untied = Decoder(dataclasses.replace(CONFIG, tie_embeddings=False), rngs=nnx.Rngs(0))
    assert untied.head().shape == (CONFIG.width, CONFIG.vocab_size)
    assert not np.allclose(untied.head(), untied.embedding[...].T)


def test_impossible_shapes_are_refused_with_the_numbers_given():
    with pytest.raises(ValueError, match="num_heads=4 must be a multiple of num_kv_heads=3"):
        dataclasses.replace(CONFIG, num_kv_heads=3)
    with pytest.raises(ValueError, match="head_dim=7 must be even"):
        dataclasses.replace(CONFIG, head_dim=7)


@pytest.mark.parametrize("shape", [(8, 1, 1), (1, 8, 1), (2, 2, 2)])
def test_every_mesh_gives_the_same_loss_and_gradients(decoder, shape):
    graph, params = nnx.split(decoder, nnx.Param)
    tokens = random_tokens(8, 6)

    def loss(params):
        decoder = nnx.merge(graph, params)
        hidden, targets = decoder(tokens[:, :-1]), tokens[:, 1:]
        return -jnp.mean(vocab_head(hidden, decoder.head(), jnp.asarray(targets), jnp.arange(0)).log_probs)

    mesh = make_mesh(shape)
    placed = jax.device_put(params, shardings(params, mesh))
    expected, gradients = jax.jit(jax.value_and_grad(loss))(params)
    actual, sharded_gradients = jax.jit(jax.value_and_grad(loss))(placed)
    np.testing.assert_allclose(actual, expected, rtol=2e-6)
    difference = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), sharded_gradients, gradients)
    assert norm(difference) <= 2e-6 * norm(gradients)


def norm(tree) -> float:
    return float(np.sqrt(sum(np.sum(np.square(np.asarray(x, np.float64))) for x in jax.tree.leaves(tree))))

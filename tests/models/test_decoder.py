# SPDX-License-Identifier: Apache-2.0
"""The decoder's properties that need no reference implementation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ntl_jax.models import Decoder, ModelConfig

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
    segment_ids = np.array([[1] * 6 + [0] * 4])
    one, other = (
        decoder(np.concatenate([tokens, random_tokens(1, 4, seed=seed)], axis=1), segment_ids=segment_ids)[:, :6]
        for seed in (1, 2)
    )
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(one, decoder(tokens), atol=1e-5)  # rows of another length: the last bits differ


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


@pytest.mark.optimized
@pytest.mark.parametrize("remat", ["layer", "dots"])
def test_recomputing_activations_changes_no_gradient(decoder, remat):
    graph, params = nnx.split(decoder, nnx.Param)
    again = nnx.split(Decoder(dataclasses.replace(CONFIG, remat=remat), rngs=nnx.Rngs(0)), nnx.Param)[0]
    tokens = random_tokens(2, 6)

    def loss(params, graph):
        return jnp.sum(nnx.merge(graph, params)(tokens) ** 3)

    expected, actual = (jax.jit(jax.grad(loss), static_argnums=1)(params, g) for g in (graph, again))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), actual, expected)
    assert "remat" in str(jax.make_jaxpr(lambda p: loss(p, again))(params))
    assert "remat" not in str(jax.make_jaxpr(lambda p: loss(p, graph))(params))


@pytest.mark.parametrize("param_dtype", ["float32", "bfloat16"])
def test_hidden_states_and_head_are_in_the_compute_dtype_and_parameters_in_theirs(param_dtype):
    config = dataclasses.replace(CONFIG, param_dtype=param_dtype, compute_dtype="bfloat16")
    decoder = Decoder(config, rngs=nnx.Rngs(0))
    assert decoder(jnp.asarray(random_tokens(1, 4))).dtype == decoder.head().dtype == jnp.bfloat16
    assert {x.dtype.name for x in jax.tree.leaves(nnx.state(decoder, nnx.Param))} == {param_dtype}

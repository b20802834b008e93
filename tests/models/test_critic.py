# SPDX-License-Identifier: Apache-2.0
"""The critic with a trunk of its own, and with the policy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ntl_jax.models import Critic, Decoder, ModelConfig

CONFIG = ModelConfig(vocab_size=64, num_layers=1, width=32, num_heads=4, num_kv_heads=2, head_dim=8, feed_forward=64)
TOKENS = jax.random.randint(jax.random.key(0), (2, 6), 0, 64)


@pytest.fixture
def decoder() -> Decoder:
    return Decoder(CONFIG, rngs=nnx.Rngs(0))


def test_the_first_values_are_zero_and_their_gradient_is_not(decoder):
    critic = Critic(CONFIG, rngs=nnx.Rngs(1))
    graph, params = nnx.split(critic, nnx.Param)
    gradient = jax.grad(lambda params: jnp.sum(nnx.merge(graph, params)(TOKENS)))(params)
    np.testing.assert_array_equal(critic(TOKENS), np.zeros((2, 6)))
    assert np.linalg.norm(gradient["value_head"][...]) > 0


def test_a_shared_trunk_is_the_policys_own_and_its_hidden_states_serve_both(decoder):
    critic = Critic(CONFIG, rngs=nnx.Rngs(1), trunk=decoder)
    critic.value_head[...] = jnp.arange(32.0)
    np.testing.assert_array_equal(critic(TOKENS), critic.values(decoder(TOKENS)))
    both = nnx.state((decoder, critic), nnx.Param)
    assert len(jax.tree.leaves(both)) == len(jax.tree.leaves(nnx.state(decoder, nnx.Param))) + 1


def test_values_are_float32_whatever_the_trunk_computes_in():
    half = ModelConfig(**{**vars(CONFIG), "param_dtype": "bfloat16", "compute_dtype": "bfloat16"})
    assert Critic(half, rngs=nnx.Rngs(0))(TOKENS).dtype == jnp.float32

# SPDX-License-Identifier: Apache-2.0
"""The parts of a decoder layer, against their definitions in a line each."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ntl_jax.models import ModelConfig
from ntl_jax.models.layers import Attention, FeedForward, Layer, RMSNorm, matrix, project

CONFIG = ModelConfig(vocab_size=64, num_layers=2, width=16, num_heads=4, num_kv_heads=2, head_dim=8, feed_forward=32)
X = np.random.default_rng(0).normal(size=(2, 3, 16)).astype(np.float32)
ANGLES = jnp.zeros((2, 3, 4))


def values_of_the_first_head_group(q, k, v):
    """Attends to the position itself alone: every query head gets the values of its group."""
    return jnp.repeat(v, q.shape[2] // v.shape[2], axis=2), "kept"


def test_projecting_is_the_product_over_all_inputs_in_the_streams_dtype():
    rng = np.random.default_rng(1)
    weights = nnx.Param(jnp.asarray(rng.normal(size=(4, 4, 2, 3)), jnp.float32))
    expected = np.einsum("bsnh,nhkj->bskj", X.reshape(2, 3, 4, 4), np.asarray(weights[...]))
    np.testing.assert_allclose(project(jnp.asarray(X.reshape(2, 3, 4, 4)), weights, num_inputs=2), expected, atol=1e-5)
    assert project(jnp.ones((2, 4, 4), jnp.bfloat16), weights, num_inputs=2).dtype == jnp.bfloat16


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_new_matrices_keep_the_variance_of_their_input_times_the_scales_square(scale):
    weights = matrix(nnx.Rngs(0), 256, 64, fan_in=256, dtype="float32", scale=scale)
    assert np.std(weights[...]) == pytest.approx(scale / 16, rel=0.05)


def test_the_norm_divides_by_the_root_mean_square_in_float32():
    norm = RMSNorm(16, 1e-6, "float32")
    norm.scale[...] = jnp.arange(16.0)
    expected = X / np.sqrt((X**2).mean(axis=-1, keepdims=True) + 1e-6) * np.arange(16)
    np.testing.assert_allclose(norm(jnp.asarray(X)), expected, rtol=1e-5, atol=1e-6)
    assert norm(jnp.asarray(X, jnp.bfloat16)).dtype == jnp.bfloat16


def test_the_feed_forward_is_gated_by_a_silu():
    layer = FeedForward(CONFIG, rngs=nnx.Rngs(0))
    gate, up, down = (np.asarray(p[...]) for p in (layer.gate, layer.up, layer.down))
    hidden = X @ gate
    np.testing.assert_allclose(layer(jnp.asarray(X)), (hidden / (1 + np.exp(-hidden)) * (X @ up)) @ down, atol=1e-5)


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"])
def test_biases_and_norms_of_queries_and_keys_are_those_of_the_architecture(architecture):
    config = dataclasses.replace(CONFIG, architecture=architecture)
    layer = Attention(config, rngs=nnx.Rngs(0))
    assert (layer.value_bias is not None) == (architecture == "Qwen2ForCausalLM")
    assert (layer.query_norm is not None) == (layer.key_norm is not None) == (architecture == "Qwen3ForCausalLM")


def test_attention_hands_rotated_queries_and_keys_to_the_caller_and_projects_what_it_mixes():
    layer = Attention(CONFIG, rngs=nnx.Rngs(0))
    mixed, kept = layer(jnp.asarray(X), jnp.asarray(ANGLES), values_of_the_first_head_group)
    value, output = np.asarray(layer.value[...]), np.asarray(layer.output[...])
    expected = np.einsum("bsnh,nhd->bsd", np.repeat(np.einsum("bsd,dkh->bskh", X, value), 2, axis=2), output)
    np.testing.assert_allclose(mixed, expected, atol=1e-5)
    assert kept == "kept"


def test_a_layer_adds_attention_and_feed_forward_to_the_stream():
    layer = Layer(CONFIG, rngs=nnx.Rngs(0))
    for param in (layer.attention.output, layer.feed_forward.down):
        param[...] = jnp.zeros_like(param[...])
    out, _ = layer(jnp.asarray(X), jnp.asarray(ANGLES), values_of_the_first_head_group)
    np.testing.assert_array_equal(out, X)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(nnx.state(layer, nnx.Param)))

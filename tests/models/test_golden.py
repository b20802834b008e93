# SPDX-License-Identifier: Apache-2.0
"""The decoder computes what transformers computes, for every architecture, tied and untied; no torch is needed here."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ntl_jax.models import hf_tensors, load_hf, save_hf
from ntl_jax.ops import vocab_head

TOLERANCE = 2e-4


@functools.partial(jax.jit, static_argnums=0)
def logits_of(graph, params, tokens, positions, segment_ids):
    decoder = nnx.merge(graph, params)
    return decoder(tokens, positions=positions, segment_ids=segment_ids) @ decoder.head()


def positions_of(tokens: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)


def test_logits_of_rows_padded_on_the_right_are_those_of_transformers(golden):
    split = nnx.split(golden.decoder)
    for segment_ids in (None, golden.mask.astype(np.int32)):
        logits = logits_of(*split, golden.tokens, positions_of(golden.tokens), segment_ids)
        np.testing.assert_allclose(logits[golden.mask], golden.logits[golden.mask], atol=TOLERANCE, rtol=0)


def test_logits_of_packed_rows_are_those_of_transformers_on_single_rows(golden):
    rows = [(golden.tokens[i, :n], golden.logits[i, :n]) for i, n in enumerate(golden.lengths)]
    sizes = [len(tokens) for tokens, _ in rows]
    packed = logits_of(
        *nnx.split(golden.decoder),
        np.concatenate([tokens for tokens, _ in rows])[None],
        np.concatenate([np.arange(size) for size in sizes])[None],
        np.repeat(np.arange(1, len(sizes) + 1), sizes)[None],
    )
    np.testing.assert_allclose(packed[0], np.concatenate([x for _, x in rows]), atol=TOLERANCE, rtol=0)


def test_gradients_of_a_summed_log_prob_are_those_of_transformers(golden):
    tokens, weights = golden.tokens, golden.mask[:, 1:]

    @jax.jit
    @jax.grad
    def gradient(params):
        decoder = nnx.merge(graph, params)
        stats = vocab_head(decoder(tokens)[:, :-1], decoder.head(), jnp.asarray(tokens[:, 1:]), jnp.arange(0))
        return jnp.sum(stats.log_probs * weights)

    graph, params = nnx.split(golden.decoder)
    actual = dict(hf_tensors(nnx.merge(graph, gradient(params))))
    assert len(golden.gradients) == 4
    for name, expected in golden.gradients.items():
        assert np.linalg.norm(actual[name] - expected) <= 1e-3 * np.linalg.norm(expected), name


def test_decoding_one_token_at_a_time_with_a_cache_gives_the_logits_of_the_whole_row(golden):
    config, head = golden.decoder.config, golden.decoder.head()
    num_rows, size = golden.tokens.shape
    graph, params = nnx.split(golden.decoder)

    @jax.jit
    def decode(params, token, step, caches):
        def attend(cache, q, k, v):
            keys, values = (
                jax.lax.dynamic_update_slice_in_dim(old, new, step, axis=1)
                for old, new in zip(cache, (k, v), strict=True)
            )
            seen = (jnp.arange(size) <= step)[None, None, None, :]
            return jax.nn.dot_product_attention(q, keys, values, mask=seen), (keys, values)

        attends = [functools.partial(attend, cache) for cache in caches]
        return nnx.merge(graph, params).run_each(token, jnp.full((num_rows, 1), step), attends)

    empty = jnp.zeros((num_rows, size, config.num_kv_heads, config.head_dim))
    caches = [(empty, empty)] * config.num_layers
    whole = logits_of(graph, params, golden.tokens, positions_of(golden.tokens), None)
    for step in range(size):
        hidden, caches = decode(params, golden.tokens[:, step : step + 1], step, caches)
        np.testing.assert_allclose(hidden[:, 0] @ head, whole[:, step], atol=1e-4, rtol=0)


def test_import_export_import_keeps_every_bit(golden, tmp_path):
    save_hf(golden.decoder, tmp_path / "saved")
    again = load_hf(tmp_path / "saved")
    jax.tree.map(np.testing.assert_array_equal, nnx.state(again, nnx.Param), nnx.state(golden.decoder, nnx.Param))
    assert (again.unembedding is None) == golden.folder.name.endswith("-tied")
    assert again.config.to_hf() == golden.decoder.config.to_hf()


def test_a_bfloat16_checkpoint_comes_back_as_it_was(golden, tmp_path):
    decoder = load_hf(golden.folder, dtype="bfloat16")
    save_hf(decoder, tmp_path / "saved")
    stored, expected = dict(hf_tensors(load_hf(tmp_path / "saved"))), dict(hf_tensors(decoder))
    assert all(array.dtype == jnp.bfloat16 for array in expected.values())
    assert {name: x.tolist() for name, x in stored.items()} == {name: x.tolist() for name, x in expected.items()}


def test_a_bfloat16_computation_runs_forward_and_backward_near_the_float32_one(golden):
    graph, params = nnx.split(load_hf(golden.folder, compute_dtype="bfloat16"))
    weights = golden.mask[:, 1:]

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        decoder = nnx.merge(graph, params)
        hidden = decoder(golden.tokens)
        assert hidden.dtype == decoder.head().dtype == jnp.bfloat16
        stats = vocab_head(hidden[:, :-1], decoder.head(), jnp.asarray(golden.tokens[:, 1:]), jnp.arange(0))
        return -jnp.sum(stats.log_probs * weights) / jnp.sum(weights)

    value, gradients = loss(params)
    log_probs = np.asarray(jax.nn.log_softmax(golden.logits[:, :-1], axis=-1))
    expected = -np.take_along_axis(log_probs, golden.tokens[:, 1:, None], -1)[..., 0][weights].mean()
    np.testing.assert_allclose(value, expected, rtol=0.05)
    assert all(x.dtype == jnp.float32 and np.all(np.isfinite(x)) for x in jax.tree.leaves(gradients))

# SPDX-License-Identifier: Apache-2.0
"""Passes in parts: every row once, whatever the parts and shards; packed rows say what unpacked ones do."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ntl_jax.models import Critic, ModelConfig, make_mesh
from ntl_jax.records import Batch, Targets, TokenWeights
from ntl_jax.rows.layout import Layout
from ntl_jax.rows.packing import pack
from ntl_jax.rows.padding import RowShape, pad_rows
from ntl_jax.rows.passes import RowPass, predicted_values, response_segments, sampled_log_probs, take_rows

MODEL = ModelConfig(vocab_size=24, num_layers=1, width=16, num_heads=2, num_kv_heads=1, head_dim=8, feed_forward=16)

PROMPTS, RESPONSES = (6, 1, 2, 1, 2, 1), (8, 2, 3, 1, 4, 2)  # tokens


@pytest.fixture(scope="module")
def batch() -> Batch[Targets]:
    """Six rows; weights number the tokens."""
    rng = np.random.default_rng(0)
    prompts, responses = ([rng.integers(0, 24, n) for n in lengths] for lengths in (PROMPTS, RESPONSES))
    rows, targets = pad_rows(prompts, responses, RowShape(16, 8), numbers=[np.full(len(r), np.nan) for r in responses])
    numbered = np.arange(targets.mask.size).reshape(targets.mask.shape)
    return Batch(rows, targets, TokenWeights(numbered, numbered))


@pytest.fixture(scope="module")
def models():
    """Graphs of a policy and a critic on its trunk, and the parameters of both."""
    rng = np.random.default_rng(1)
    critic = nnx.eval_shape(lambda: Critic(MODEL, rngs=nnx.Rngs(0)))
    graph, shapes = nnx.split(critic, nnx.Param)
    policy = nnx.split(critic.trunk, nnx.Param)[0]
    return policy, graph, jax.tree.map(lambda x: rng.normal(0.0, 0.3, x.shape).astype(x.dtype), shapes)


@pytest.mark.parametrize(("num_shards", "rows_at_once", "shape"), [(1, 3, (3, 8)), (2, 4, (4, 8)), (4, 1, (4, 8))])
def test_rows_whose_number_is_prime_go_through_in_few_parts_of_one_shape(num_shards, rows_at_once, shape):
    prompts = [np.full(2, row) for row in range(7)]
    rows, _ = pad_rows(prompts, prompts, RowShape(8, 8), numbers=[np.full(2, np.nan)] * 7)
    chex.clear_trace_counter()

    def first_token(graph, params, rows, added, factor):
        chex.assert_shape(rows.tokens, shape)
        return rows.tokens[:, 0] * factor + added

    run = RowPass(chex.assert_max_traces(first_token, n=1), make_mesh((num_shards, 1, 1)), max_tokens=8 * rows_at_once)
    found = run(nnx.graphdef(nnx.Module()), {}, rows, (np.arange(7) * 100,), jnp.int32(2))
    assert found.tolist() == [102 * row for row in range(7)]


def test_taking_rows_takes_them_from_every_array(batch):
    swapped = take_rows(batch, np.array([1, 0]), len(PROMPTS))
    for name in ("ids", "mask"):
        np.testing.assert_array_equal(getattr(swapped.tokens, name), getattr(batch.tokens, name)[[1, 0]])
    np.testing.assert_array_equal(swapped.rows.tokens, batch.rows.tokens[[1, 0]])
    assert swapped.rows.segment_ids is None and swapped.weights.reference is None


def test_log_probs_are_those_of_the_whole_rows_softmax_at_the_temperature(batch, models):
    """Position by position: the logits before token t, over the temperature."""
    policy, _, params = models
    run, ids = RowPass(sampled_log_probs, make_mesh((1, 1, 1)), 10_000), batch.tokens.ids
    found = run(policy, params["trunk"], batch.rows, (ids,), np.float32(0.7))

    @jax.jit
    def everything(params, tokens):
        decoder = nnx.merge(policy, params)
        return jax.nn.log_softmax(decoder(tokens) @ decoder.head() / 0.7)

    everywhere = np.asarray(everything(params["trunk"], batch.rows.tokens))
    for row, t in np.argwhere(batch.tokens.mask):
        expected = everywhere[row, batch.rows.predictors[row, t], ids[row, t]]
        assert found[row, t] == pytest.approx(expected, abs=1e-5)


def test_packed_rows_have_the_log_probs_and_values_of_unpacked_ones(batch, models):
    policy, critic, params = models
    packed, mesh = pack(batch), make_mesh((1, 1, 1))
    assert packed.rows.shape[0] < batch.rows.shape[0]
    log_probs, values = RowPass(sampled_log_probs, mesh, 10_000), RowPass(predicted_values, mesh, 10_000)

    def said(batch: Batch[Targets]):
        ids = (batch.tokens.ids,)
        return log_probs(policy, params["trunk"], batch.rows, ids, np.float32(1.0)), values(critic, params, batch.rows)

    mask = packed.tokens.mask
    source = packed.weights.loss[mask]
    for alone, together in zip(said(batch), said(packed), strict=True):
        chex.assert_shape(together, mask.shape)
        chex.assert_trees_all_close(together[mask], alone.ravel()[source], atol=1e-5)


def test_rows_that_share_a_prompt_have_the_log_probs_and_values_of_rows_of_their_own(models):
    """Three rows of two responses to a prompt, two rows at a time: other rows fill the last part."""
    policy, critic, params = models
    rng = np.random.default_rng(2)
    prompts = [prompt for n in (6, 1, 3) for prompt in [rng.integers(0, 24, n)] * 2]
    responses = [rng.integers(0, 24, n) for n in RESPONSES]
    nothing, found = [np.full(len(r), np.nan) for r in responses], []
    for layout, max_tokens in (
        (Layout("padded", RowShape(16, 8)), 10_000),
        (Layout("shared", RowShape(16, 8), 2), 2 * (8 + 2 * 8)),
    ):
        rows, targets = layout.rows(prompts, responses, numbers=nothing)
        log_probs, values = (
            RowPass(run, make_mesh((1, 1, 1)), max_tokens) for run in (sampled_log_probs, predicted_values)
        )
        said = log_probs(policy, params["trunk"], rows, (targets.ids,), np.float32(1.0)), values(critic, params, rows)
        found.append([np.asarray(x)[targets.mask] for x in said])
    chex.assert_trees_all_close(*found, atol=1e-5)


def test_response_tokens_know_their_segment_and_rows_of_one_sequence_have_none(batch):
    packed = pack(batch)
    assert response_segments(batch.rows) is None
    segments = np.asarray(response_segments(packed.rows))
    rows_of = packed.weights.loss // batch.tokens.mask.shape[1]
    for row, mask in enumerate(packed.tokens.mask):
        pairs = {*zip(segments[row, mask].tolist(), rows_of[row, mask].tolist(), strict=True)}
        assert len(pairs) == len({segment for segment, _ in pairs}) and 0 not in segments[row, mask]

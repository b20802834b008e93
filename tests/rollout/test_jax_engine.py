# SPDX-License-Identifier: Apache-2.0
"""The engine samples from, and reports, the distribution that the trainer's forward pass gives."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax._src import test_util as jtu

from ntl_jax.models import Decoder, ModelConfig, make_mesh
from ntl_jax.numerals import NumberTable
from ntl_jax.ops import vocab_head
from ntl_jax.records import Prompt, Sampling, Trajectory
from ntl_jax.rollout import JaxEngine
from ntl_jax.train.batch import RowShape, pad_rows

SIZES = {"num_layers": 2, "width": 32, "num_heads": 4, "num_kv_heads": 2, "head_dim": 8, "feed_forward": 64}
CONFIG = ModelConfig(vocab_size=40, **SIZES, tie_embeddings=False)
TABLE = NumberTable.from_vocab({**{str(d): d for d in range(10)}, "Ġ7": 12}, vocab_size=40)
LOGIT_SCALE = 3.0  # from near-uniform to a peaked policy: wrong log-probs differ visibly, samples still vary
SAMPLING = Sampling(num_samples=4, max_tokens=12, stop_token_ids=(3, 5))


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    decoder = Decoder(CONFIG, rngs=nnx.Rngs(0))
    assert decoder.unembedding is not None
    decoder.unembedding[...] = decoder.unembedding[...] * LOGIT_SCALE
    return decoder


def make_engine(decoder: Decoder, mesh_shape=(1, 1, 1), slots: int = 16) -> JaxEngine:
    return JaxEngine(decoder, TABLE, mesh=make_mesh(mesh_shape), slots=slots, max_prompt_tokens=9)


@pytest.fixture(scope="module")
def engine(decoder) -> JaxEngine:
    return make_engine(decoder)


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    rng = np.random.default_rng(0)
    return [Prompt(i, rng.integers(0, 40, 1 + i % 9).astype(np.int32), "", "1") for i in range(10)]


@functools.partial(jax.jit, static_argnums=0)
def forward(graph, params, batch, temperature):
    """Head statistics and likeliest tokens of a trainer's batch, from whole rows."""
    decoder = nnx.merge(graph, params)
    hidden = decoder(batch.tokens, positions=batch.positions, segment_ids=batch.segment_ids)
    hidden = jnp.take_along_axis(hidden, batch.predictors[:, :, None], axis=1)
    stats = vocab_head(hidden, decoder.head(), batch.targets, TABLE.ids, temperature=temperature)
    return stats, jnp.argmax(hidden @ decoder.head(), axis=-1)


def trainer_pass(decoder: Decoder, trajectories: list[Trajectory], temperature: float):
    """The trainer's log-probs [tokens], digit log-probs [tokens, 10] and likeliest tokens of all sampled tokens."""
    responses = [t.response_ids for t in trajectories]
    no_numbers = [np.full(len(r), np.nan) for r in responses]
    batch = pad_rows([t.prompt_ids for t in trajectories], responses, RowShape(21, 12), number_targets=no_numbers)
    stats, likeliest = forward(*nnx.split(decoder), batch, temperature)
    digits = TABLE.merge_by_value(stats.number_log_probs)
    return tuple(np.asarray(x)[batch.mask] for x in (stats.log_probs, digits, likeliest))


def as_bytes(trajectories: list[Trajectory]) -> list[tuple]:
    return [
        (t.prompt_index, t.sample_index, t.response_ids.tobytes(), t.rollout_log_probs.tobytes(), t.finish_reason)
        for t in trajectories
    ]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_of_tokens_and_digits_equal_those_of_the_trainers_forward_pass(decoder, engine, prompts, temperature):
    sampling = dataclasses.replace(SAMPLING, temperature=temperature)
    trajectories = engine.generate(prompts, sampling, seed=1)
    log_probs, digit_log_probs, _ = trainer_pass(decoder, trajectories, temperature)
    for error in (
        np.abs(log_probs - np.concatenate([t.rollout_log_probs for t in trajectories])),
        np.abs(digit_log_probs - np.concatenate([t.digit_log_probs for t in trajectories])),
    ):
        assert error.max() <= 1e-4
        assert error.mean() <= 1e-5


def test_temperature_zero_takes_the_likeliest_token_and_reports_temperature_one(decoder, engine, prompts):
    trajectories = engine.generate(prompts, dataclasses.replace(SAMPLING, temperature=0.0), seed=0)
    log_probs, _, likeliest = trainer_pass(decoder, trajectories, temperature=1.0)
    np.testing.assert_allclose(np.concatenate([t.rollout_log_probs for t in trajectories]), log_probs, atol=1e-4)
    np.testing.assert_array_equal(np.concatenate([t.response_ids for t in trajectories]), likeliest)


def test_samples_do_not_depend_on_order_and_neighbours(engine, prompts):
    for seed in range(5):
        expected = as_bytes(engine.generate(prompts, SAMPLING, seed=seed))
        backwards = as_bytes(engine.generate(prompts[::-1], SAMPLING, seed=seed))
        assert sorted(backwards) == sorted(expected)
        alone = as_bytes(engine.generate(prompts[7:8], SAMPLING, seed=seed))
        assert alone == expected[28:32]


def test_trajectories_come_in_prompt_order_then_sample_order(engine, prompts):
    order = [(t.prompt_index, t.sample_index) for t in engine.generate(prompts, SAMPLING, seed=0)]
    assert order == [(i, g) for i in range(10) for g in range(4)]


def test_the_same_seed_repeats_the_samples_and_another_one_does_not(engine, prompts):
    first, again, other = (as_bytes(engine.generate(prompts, SAMPLING, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len({sample[2] for sample in first[36:40]}) > 1  # the samples of one prompt differ


def test_a_response_ends_with_its_first_stop_token_or_at_the_limit(engine, prompts):
    reasons = set()
    for trajectory in engine.generate(prompts, SAMPLING, seed=0):
        stops = np.flatnonzero(np.isin(trajectory.response_ids, SAMPLING.stop_token_ids))
        reasons.add(trajectory.finish_reason)
        if trajectory.finish_reason == "stop":
            assert stops.tolist() == [len(trajectory.response_ids) - 1]
        else:
            assert len(stops) == 0
            assert len(trajectory.response_ids) == SAMPLING.max_tokens
        assert trajectory.digit_log_probs.shape == (len(trajectory.response_ids), 10)
    assert reasons == {"stop", "length"}


def test_digits_are_left_out_when_not_asked_for(engine, prompts):
    sampling = Sampling(num_samples=4, max_tokens=12, stop_token_ids=(3, 5), capture_digits=False)
    without = engine.generate(prompts, sampling, seed=1)
    assert all(t.digit_log_probs is None for t in without)
    assert as_bytes(without) == as_bytes(engine.generate(prompts, SAMPLING, seed=1))


def test_new_weights_change_the_samples_and_the_version(decoder, prompts):
    engine = make_engine(decoder)
    before = engine.generate(prompts, SAMPLING, seed=0)
    other = Decoder(CONFIG, rngs=nnx.Rngs(1))
    engine.load_weights(7, other)
    after = engine.generate(prompts, SAMPLING, seed=0)
    assert {t.policy_version for t in before} == {0}
    assert {t.policy_version for t in after} == {7}
    assert as_bytes(before) != as_bytes(after)


def test_any_number_of_prompts_uses_one_compiled_program(decoder, prompts):
    engine = make_engine(decoder, slots=8)
    engine.generate(prompts[:1], SAMPLING, seed=0)
    with jtu.count_jit_compilation_cache_miss() as compilations:
        for count in (2, 5, 10):
            engine.generate(prompts[:count], SAMPLING, seed=count)
    assert compilations() == 0


def test_eight_devices_sample_what_one_does(decoder, engine, prompts):
    expected = engine.generate(prompts, SAMPLING, seed=0)
    spread = make_engine(decoder, mesh_shape=(8, 1, 1), slots=32).generate(prompts, SAMPLING, seed=0)
    same = [np.array_equal(a.response_ids, b.response_ids) for a, b in zip(expected, spread, strict=True)]
    assert np.mean(same) >= 0.99
    for a, b in zip(expected, spread, strict=True):
        if np.array_equal(a.response_ids, b.response_ids):
            chex.assert_trees_all_close(a.rollout_log_probs, b.rollout_log_probs, atol=1e-4)


def test_prompts_that_cannot_be_sampled_are_named_all_at_once(engine):
    def prompt(index: int, ids: list[int]) -> Prompt:
        return Prompt(index, np.array(ids, np.int32), "", "1")

    with pytest.raises(ValueError) as error:
        engine.generate([prompt(4, []), prompt(5, [1] * 10), prompt(6, [40]), prompt(7, [1])], SAMPLING, seed=0)
    message = str(error.value)
    assert message.startswith("3 of 4 prompts cannot be sampled")
    assert "prompt 4 is empty" in message
    assert "prompt 5 has 10 tokens, the engine takes 9" in message
    assert "prompt 6 holds ids outside [0, 40): from 40 to 40" in message

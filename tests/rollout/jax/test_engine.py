# SPDX-License-Identifier: Apache-2.0
"""The engine samples from, and reports, the distribution that the trainer's forward pass gives."""

import dataclasses
import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ntl_jax.data import load_tokenizer
from ntl_jax.models import Decoder, ModelConfig, make_mesh, shardings
from ntl_jax.models.stacking import stacked
from ntl_jax.numerals import NumberTable, TokenDecoder
from ntl_jax.ops import vocab_head
from ntl_jax.records import Prompt, Sampling, Trajectory, Version, VersionSpan, Weights
from ntl_jax.rollout import JaxEngine
from ntl_jax.rollout.jax.sampler.truncation import Truncation, truncate
from ntl_jax.rollout.stopping import length_to_stop
from ntl_jax.rows.padding import RowShape, pad_rows
from tests.engines import weights_of

SAMPLING = Sampling(num_samples=4, max_tokens=12, stop_token_ids=(3, 5))


def make_engine(decoder: Decoder, table: NumberTable, mesh_shape=(1, 1, 1), slots: int = 16) -> JaxEngine:
    engine = JaxEngine(decoder.config, table, mesh=make_mesh(mesh_shape), slots=slots, max_prompt_tokens=9)
    engine.publish(weights_of(decoder))
    return engine


@pytest.fixture(scope="module")
def engine(decoder, table) -> JaxEngine:
    return make_engine(decoder, table)


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    rng = np.random.default_rng(0)
    return [Prompt(i, rng.integers(0, 40, 1 + i % 9).astype(np.int32), "", "1") for i in range(10)]


@functools.partial(jax.jit, static_argnums=0)
def forward(graph, params, table, rows, ids, temperature):
    """Head statistics and likeliest tokens of a trainer's rows, which are whole."""
    decoder = nnx.merge(graph, params)
    hidden = decoder(rows.tokens, positions=rows.positions, segment_ids=rows.segment_ids)
    hidden = jnp.take_along_axis(hidden, rows.predictors[:, :, None], axis=1)
    stats = vocab_head(hidden, decoder.head(), ids, table.ids, temperature=temperature)
    return stats, jnp.argmax(hidden @ decoder.head(), axis=-1)


def trainer_pass(decoder: Decoder, table: NumberTable, trajectories: list[Trajectory], temperature: float):
    """The trainer's log-probs [tokens], digit log-probs [tokens, 10] and likeliest tokens of all sampled tokens."""
    responses = [t.response_ids for t in trajectories]
    no_numbers = [np.full(len(r), np.nan) for r in responses]
    rows, targets = pad_rows([t.prompt_ids for t in trajectories], responses, RowShape(21, 12), numbers=no_numbers)
    stats, likeliest = forward(*nnx.split(decoder), table, rows, targets.ids, temperature)
    digits = table.merge_by_value(stats.number_log_probs)
    return tuple(np.asarray(x)[targets.mask] for x in (stats.log_probs, digits, likeliest))


def as_bytes(trajectories: list[Trajectory]) -> list[tuple]:
    return [
        (t.prompt_index, t.sample_index, t.response_ids.tobytes(), t.rollout_log_probs.tobytes(), t.finish_reason)
        for t in trajectories
    ]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_of_tokens_and_digits_equal_those_of_the_trainers_forward_pass(
    decoder, table, engine, prompts, temperature
):
    sampling = dataclasses.replace(SAMPLING, temperature=temperature)
    trajectories = engine.generate(prompts, sampling, seed=1)
    log_probs, digit_log_probs, _ = trainer_pass(decoder, table, trajectories, temperature)
    for error in (
        np.abs(log_probs - np.concatenate([t.rollout_log_probs for t in trajectories])),
        np.abs(digit_log_probs - np.concatenate([t.digit_log_probs for t in trajectories])),
    ):
        assert error.max() <= 1e-4
        assert error.mean() <= 1e-5


def test_an_engine_of_stacked_layers_draws_the_same_samples(decoder, table, engine, prompts):
    graph = nnx.split(Decoder(dataclasses.replace(decoder.config, scan_layers=True), rngs=nnx.Rngs(0)))[0]
    other = make_engine(nnx.merge(graph, stacked(nnx.state(decoder, nnx.Param))), table)
    for one, same in zip(*(x.generate(prompts, SAMPLING, seed=1) for x in (engine, other)), strict=True):
        np.testing.assert_array_equal(one.response_ids, same.response_ids)
        np.testing.assert_allclose(one.rollout_log_probs, same.rollout_log_probs, atol=1e-5)
    other.retract()


def test_temperature_zero_takes_the_likeliest_token_and_reports_temperature_one(decoder, table, engine, prompts):
    trajectories = engine.generate(prompts, dataclasses.replace(SAMPLING, temperature=0.0), seed=0)
    log_probs, _, likeliest = trainer_pass(decoder, table, trajectories, temperature=1.0)
    np.testing.assert_allclose(np.concatenate([t.rollout_log_probs for t in trajectories]), log_probs, atol=1e-4)
    np.testing.assert_array_equal(np.concatenate([t.response_ids for t in trajectories]), likeliest)


def test_trajectories_come_in_prompt_order_then_sample_order(engine, prompts):
    order = [(t.prompt_index, t.sample_index) for t in engine.generate(prompts, SAMPLING, seed=0)]
    assert order == [(i, g) for i in range(10) for g in range(4)]


def test_the_same_seed_repeats_the_samples_and_another_one_does_not(engine, prompts):
    first, again, other = (as_bytes(engine.generate(prompts, SAMPLING, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len({sample[2] for sample in first[36:40]}) > 1  # the samples of one prompt differ


def test_a_prompt_that_is_drawn_twice_has_different_samples_in_each_draw(engine, prompts):
    twins = [prompts[0], dataclasses.replace(prompts[0], draw=10)]
    trajectories = engine.generate(twins, SAMPLING, seed=1)
    assert [t.draw for t in trajectories] == [0] * 4 + [10] * 4
    assert as_bytes(trajectories[:4]) == as_bytes(engine.generate(prompts[:1], SAMPLING, seed=1))
    assert as_bytes(trajectories[:4]) != as_bytes(trajectories[4:])


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


def test_new_weights_change_the_samples_and_the_version(decoder, table, prompts):
    engine = make_engine(decoder, table)
    before = engine.generate(prompts, SAMPLING, seed=0)
    other = Decoder(decoder.config, rngs=nnx.Rngs(1))
    engine.publish(weights_of(other, 7))
    after = engine.generate(prompts, SAMPLING, seed=0)
    for trajectories, version in ((before, Version(0)), (after, Version(7))):
        assert all(t.versions == (VersionSpan(0, len(t.response_ids), version),) for t in trajectories)
    assert as_bytes(before) != as_bytes(after)


@pytest.mark.parametrize("mesh_shape", [(8, 1, 1), (1, 4, 2), (2, 1, 4)])
def test_eight_devices_sample_what_one_does(decoder, table, engine, prompts, mesh_shape):
    mesh = make_mesh(mesh_shape)
    graph, params = nnx.split(decoder)
    placed = nnx.merge(graph, jax.device_put(params, shardings(params, mesh)))
    expected = engine.generate(prompts, SAMPLING, seed=0)
    spread = make_engine(placed, table, mesh_shape, slots=32).generate(prompts, SAMPLING, seed=0)
    same = [np.array_equal(a.response_ids, b.response_ids) for a, b in zip(expected, spread, strict=True)]
    assert np.mean(same) >= 0.95  # of 40: at most two
    for a, b in zip(expected, spread, strict=True):
        if np.array_equal(a.response_ids, b.response_ids):
            chex.assert_trees_all_close(a.rollout_log_probs, b.rollout_log_probs, atol=1e-4)


def test_bfloat16_computation_gives_log_probs_near_the_trainers(decoder, table, prompts):
    config = dataclasses.replace(decoder.config, param_dtype="bfloat16", compute_dtype="bfloat16")
    narrow = Decoder(config, rngs=nnx.Rngs(0))
    trajectories = make_engine(narrow, table).generate(prompts, SAMPLING, seed=0)
    log_probs, _, _ = trainer_pass(narrow, table, trajectories, 1.0)
    error = np.abs(log_probs - np.concatenate([t.rollout_log_probs for t in trajectories]))
    assert 0 < error.mean() < 0.01


TRUNCATIONS = [{"top_p": 0.8}, {"top_k": 5}, {"min_p": 0.05}, {"top_p": 0.9, "top_k": 12, "min_p": 0.01}]


@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_truncated_log_probs_equal_the_renormalised_oracle(decoder, table, engine, prompts, truncation, temperature):
    sampling = dataclasses.replace(
        SAMPLING, temperature=temperature, capture_entropy=True, capture_alternatives=True, **truncation
    )
    trajectories = engine.generate(prompts, sampling, seed=2)
    logits = oracle_logits(decoder, table, trajectories) / temperature
    settings = Truncation(*map(jnp.float32, (sampling.top_p, sampling.top_k, sampling.min_p)))
    log_probs = np.asarray(jax.nn.log_softmax(truncate(jnp.asarray(logits), settings), axis=-1))
    assert np.isinf(log_probs).any()
    ids = np.concatenate([t.response_ids for t in trajectories])
    reported = np.concatenate([t.rollout_log_probs for t in trajectories])
    np.testing.assert_allclose(reported, log_probs[np.arange(len(ids)), ids], atol=1e-4)
    digits = np.concatenate([t.digit_log_probs for t in trajectories])
    expected_digits = np.asarray(table.merge_by_value(jnp.asarray(log_probs[:, np.asarray(table.ids)])))
    np.testing.assert_array_equal(np.isfinite(digits), np.isfinite(expected_digits))
    np.testing.assert_allclose(np.exp(digits), np.exp(expected_digits), atol=1e-5)
    entropy = -np.sum(np.exp(log_probs) * np.where(np.isfinite(log_probs), log_probs, 0), axis=-1)
    np.testing.assert_allclose(np.concatenate([t.entropy for t in trajectories]), entropy, atol=1e-4)
    best = np.sort(log_probs, axis=-1)[:, ::-1][:, :5]
    alternatives = np.concatenate([t.alternative_log_probs for t in trajectories])
    np.testing.assert_allclose(np.exp(alternatives), np.exp(best), atol=1e-5)
    alternative_ids = np.concatenate([t.alternative_ids for t in trajectories])
    np.testing.assert_allclose(np.take_along_axis(np.exp(log_probs), alternative_ids, axis=1), np.exp(best), atol=1e-5)


@pytest.mark.parametrize("truncation", [{}, {"top_p": 0.8}])
def test_frequencies_of_a_hundred_thousand_draws_follow_the_distribution(decoder, table, prompts, truncation):
    num = 100_000
    engine = make_engine(decoder, table, slots=num)
    sampling = Sampling(num_samples=num, max_tokens=1, capture_digits=False, **truncation)
    trajectories = engine.generate(prompts[4:5], sampling, seed=0)
    settings = Truncation(*map(jnp.float32, (sampling.top_p, 0, 0.0)))
    logits = truncate(jnp.asarray(oracle_logits(decoder, table, trajectories[:1])), settings)
    probs = np.asarray(jax.nn.softmax(logits[0]), np.float64)
    counts = np.bincount([t.response_ids[0] for t in trajectories], minlength=40)
    assert counts[probs == 0].sum() == 0
    likely = num * probs >= 5
    chi_square = np.sum((counts[likely] - num * probs[likely]) ** 2 / (num * probs[likely]))
    freedom = likely.sum() - 1
    assert chi_square < freedom + 3.1 * np.sqrt(2 * freedom) + 4  # above the 0.999 quantile


def oracle_logits(decoder: Decoder, table: NumberTable, trajectories: list[Trajectory]) -> np.ndarray:
    """Logits of a whole-row forward pass at every sampled position, [tokens, V]."""
    rows = []
    for t in trajectories:
        tokens = np.zeros((1, 21), np.int32)
        joined = np.concatenate([t.prompt_ids, t.response_ids])
        tokens[0, : len(joined)] = joined
        hidden = whole_row(*nnx.split(decoder), tokens)[0]
        rows.append(np.asarray(hidden)[len(t.prompt_ids) - 1 : len(joined) - 1])
    return np.concatenate(rows)


@functools.partial(jax.jit, static_argnums=0)
def whole_row(graph, params, tokens):
    decoder = nnx.merge(graph, params)
    return decoder(tokens) @ decoder.head()


def test_a_stop_string_ends_the_response_with_the_token_that_completes_it():
    tokenizer = load_tokenizer()
    vocab_size = -(-len(tokenizer) // 8) * 8
    sizes: dict[str, Any] = {"num_layers": 1, "width": 16, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8}
    decoder = Decoder(ModelConfig(vocab_size=vocab_size, feed_forward=32, **sizes), rngs=nnx.Rngs(0))
    table = NumberTable.from_tokenizer(tokenizer, vocab_size=vocab_size)
    mesh = make_mesh((1, 1, 1))
    engine = JaxEngine(decoder.config, table, mesh=mesh, slots=8, max_prompt_tokens=4, tokenizer=tokenizer)
    engine.publish(weights_of(decoder))
    prompt = Prompt(0, np.array([5, 6], np.int32), "", "1")
    sampling = Sampling(num_samples=32, max_tokens=40)
    free = engine.generate([prompt], sampling, seed=0)
    decode = TokenDecoder(tokenizer)
    text, starts = decode(free[3].response_ids)
    stop = text[starts[20] : starts[22] + 1]
    stopped = engine.generate([prompt], dataclasses.replace(sampling, stop_strings=(stop,)), seed=0)
    for before, after in zip(free, stopped, strict=True):
        length = length_to_stop(before.response_ids, [stop], decode)
        assert after.finish_reason == ("length" if length is None else "stop")
        np.testing.assert_array_equal(after.response_ids, before.response_ids[:length])
        assert len(after.rollout_log_probs) == len(after.response_ids)
    assert stopped[3].finish_reason == "stop"
    ended = engine.generate([prompt], dataclasses.replace(sampling, stop_strings=("<|pad|>", "<|endoftext|>")), seed=0)
    for before, after in zip(free, ended, strict=True):
        ends = np.flatnonzero(before.response_ids <= 1)
        np.testing.assert_array_equal(after.response_ids, before.response_ids[: ends[0] + 1 if len(ends) else None])
        assert after.finish_reason == ("stop" if len(ends) else "length")
    assert {t.finish_reason for t in ended} == {"stop", "length"}
    without = JaxEngine(decoder.config, table, mesh=mesh, slots=8, max_prompt_tokens=4)
    without.publish(weights_of(decoder))
    with pytest.raises(ValueError, match=r"JaxEngine\(tokenizer"):
        without.generate([prompt], dataclasses.replace(sampling, stop_strings=("x",)), seed=0)


def test_a_cache_larger_than_memory_is_refused_before_it_is_allocated(decoder, table, prompts):
    engine = make_engine(decoder, table, slots=10_000_000)
    with pytest.raises(ValueError, match=r"GiB available, in which \d+ rows of responses fit: lower slots, max_tokens"):
        engine.generate(prompts, Sampling(num_samples=4, max_tokens=100_000), seed=0)


def test_responses_past_the_policys_positions_are_refused_before_anything_is_compiled(decoder, table):
    short = Decoder(dataclasses.replace(decoder.config, max_positions=64), rngs=nnx.Rngs(0))
    engine, prompt = make_engine(short, table), Prompt(0, np.arange(8, dtype=np.int32), "", "1")
    with pytest.raises(ValueError, match="takes 65 positions, but the policy has 64: lower max_tokens to 56 or less"):
        engine.generate([prompt], Sampling(num_samples=1, max_tokens=57), seed=0)
    ids = {len(t.response_ids) for t in engine.generate([prompt], Sampling(num_samples=1, max_tokens=56), seed=0)}
    assert ids == {56}


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.6, "top_p": 0.9, "top_k": 12, "min_p": 0.01}, {"temperature": 0.0}]
)
def test_ids_past_the_tokenizer_are_never_sampled_and_the_others_have_probability_one(decoder, table, settings):
    """Without the limit, their logits would be the highest by far."""
    graph, params = nnx.split(decoder)
    padded = nnx.merge(graph, jax.tree.map(lambda x: x.copy(), params))
    padded.unembedding[33:] = 10 * padded.unembedding[:7]
    padded.config = dataclasses.replace(decoder.config, num_tokens=33)
    prompts = [Prompt(i, np.arange(1 + i, 4 + i, dtype=np.int32), "", "1") for i in range(10)]
    sampling = dataclasses.replace(SAMPLING, capture_entropy=True, **settings)
    trajectories = make_engine(padded, table).generate(prompts, sampling, seed=2)
    ids, reported, entropies = (
        np.concatenate([getattr(t, name) for t in trajectories])
        for name in ("response_ids", "rollout_log_probs", "entropy")
    )
    assert ids.max() < 33 and len(set(ids.tolist())) > 5
    truncation = Truncation(*map(jnp.float32, (sampling.top_p, sampling.top_k, sampling.min_p)))
    logits = jnp.asarray(oracle_logits(decoder, table, trajectories)[:, :33]) / (sampling.temperature or 1.0)
    log_probs = np.asarray(jax.nn.log_softmax(truncate(logits, truncation), axis=-1))
    np.testing.assert_allclose(reported, log_probs[np.arange(len(ids)), ids], atol=1e-4)
    surprise = np.where(np.isfinite(log_probs), -log_probs, 0.0)
    np.testing.assert_allclose(entropies, np.sum(np.exp(log_probs) * surprise, axis=-1), atol=1e-4)
    with pytest.raises(ValueError, match=r"prompt 0 holds ids outside \[0, 33\): from 33 to 33"):
        make_engine(padded, table).generate([Prompt(0, np.array([33], np.int32), "", "1")], sampling, seed=0)


def test_weights_that_an_update_took_are_asked_for_and_not_sampled_from(decoder, table, prompts):
    engine, params = make_engine(decoder, table), nnx.state(decoder, nnx.Param)
    taken = jax.tree.map(lambda x: x.copy(), params)
    engine.publish(Weights(Version(7), taken))
    jax.tree.map(lambda x: x.delete(), taken)
    with pytest.raises(ValueError, match=r"weights of Version\(iteration=7.*\), which were lent: retract\(\) before"):
        engine.generate(prompts, SAMPLING, seed=0)


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

# SPDX-License-Identifier: Apache-2.0
"""Samples that move between tiles keep their bits, and what has finished is not decoded."""

import dataclasses

import jax
import numpy as np
import pytest

from ntl_jax.data import load_tokenizer
from ntl_jax.models import Decoder, make_mesh
from ntl_jax.numerals import TokenDecoder
from ntl_jax.records import Prompt, Request, Sampling
from ntl_jax.rollout import JaxEngine
from ntl_jax.rollout.jax.cache import TileShape
from ntl_jax.rollout.jax.decode import PAGE
from ntl_jax.rollout.jax.scheduler import arrange, group_size_for, tile_shape
from tests.engines import as_bytes, weights_of

SAMPLING = Sampling(num_samples=4, max_tokens=100, stop_token_ids=(3, 5))
MAX_PROMPT_TOKENS = 100  # so that a tile has groups of two


def make_engine(decoder: Decoder, table, *, slots: int, tile_slots: int | None = None, **settings) -> JaxEngine:
    mesh = make_mesh((1, 1, 1), jax.devices()[:1])
    engine = JaxEngine(
        decoder.config,
        table,
        mesh=mesh,
        slots=slots,
        tile_slots=tile_slots,
        max_prompt_tokens=MAX_PROMPT_TOKENS,
        **settings,
    )
    engine.publish(weights_of(decoder))
    return engine


@pytest.fixture(scope="module")
def engine(decoder, table) -> JaxEngine:
    """Three tiles of eight slots: four groups of two."""
    return make_engine(decoder, table, slots=24, tile_slots=8)


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    rng = np.random.default_rng(0)
    lengths = [3, 33, 70, 100, 1]
    return [Prompt(i, rng.integers(0, 40, lengths[i % 5]).astype(np.int32), "", "1") for i in range(20)]


@pytest.mark.optimized
def test_samples_are_the_same_bits_in_any_order_and_among_any_neighbors(engine, prompts):
    """Also where a prompt has its group of slots to itself, and where four prompts share one."""
    for seed in range(4):
        expected = as_bytes(engine.generate(prompts, SAMPLING, seed=seed))
        assert max(len(ids) for ids, *_ in expected.values()) // 4 > 48  # some reached the second block
        for chosen in (prompts[::-1], prompts[7:8], prompts[:6], prompts[3:20:4]):
            for sample, found in as_bytes(engine.generate(chosen, SAMPLING, seed=seed)).items():
                assert found == expected[sample]


@pytest.mark.optimized
def test_a_request_submitted_while_others_decode_gets_the_samples_that_it_gets_alone(engine, prompts):
    engine.submit([Request(prompts[0], SAMPLING, 0)])
    late, found = [Request(p, SAMPLING, 3) for p in prompts[1:]], {}
    for group in engine.results():
        found |= as_bytes(group)
        engine.submit([late.pop() for _ in range(min(3, len(late)))])
    alone = [engine.generate([p], SAMPLING, seed=3 * (p.index > 0)) for p in prompts]
    assert found == as_bytes(t for group in alone for t in group)


def test_tiles_sample_what_one_program_of_all_slots_does(decoder, table, engine, prompts):
    whole = make_engine(decoder, table, slots=24)
    pairs = zip(engine.generate(prompts, SAMPLING, seed=1), whole.generate(prompts, SAMPLING, seed=1), strict=True)
    same = []
    for a, b in pairs:
        same.append(np.array_equal(a.response_ids, b.response_ids))
        if same[-1]:
            np.testing.assert_allclose(a.rollout_log_probs, b.rollout_log_probs, atol=1e-4)
    assert np.mean(same) >= 0.97  # of 80: at most two


def test_a_stop_string_ends_a_sample_that_moves_between_tiles(decoder, table):
    tokenizer = load_tokenizer()
    engine = make_engine(decoder, table, slots=16, tile_slots=4, tokenizer=tokenizer)
    prompts = [Prompt(i, np.array([5, 6 + i], np.int32), "", "1") for i in range(6)]
    sampling = Sampling(num_samples=4, max_tokens=60)
    free = engine.generate(prompts, sampling, seed=0)
    decode = TokenDecoder(tokenizer)
    text, starts = decode(free[3].response_ids)
    stop = text[starts[20] : starts[22] + 1]
    stopped = engine.generate(prompts, dataclasses.replace(sampling, stop_strings=(stop,)), seed=0)
    for before, after in zip(free, stopped, strict=True):
        np.testing.assert_array_equal(after.response_ids, before.response_ids[: len(after.response_ids)])
    assert stopped[3].finish_reason == "stop" and len(stopped[3].response_ids) <= 23


def test_finished_samples_cost_nothing(engine, prompts):
    """A segment decodes no more tiles than hold the unfinished samples, in groups of two of one prompt."""
    lengths = np.array([len(t.response_ids) for t in engine.generate(prompts[:6], SAMPLING, seed=0)]).reshape(6, 4)
    slot_steps = lengths.sum() / engine.slot_use
    unfinished = [(lengths > first).sum(axis=1) for first in range(0, SAMPLING.max_tokens, PAGE)]
    num_tiles = [-(-(-(-of_prompts // 2)).sum() // 4) for of_prompts in unfinished]
    assert num_tiles[0] == 3 and 1 in num_tiles  # slots of several tiles come together in one
    assert slot_steps <= sum(num_tiles) * 8 * PAGE
    assert sum(num_tiles) < len(num_tiles) * 3 / 2


def test_tiles_hold_every_sample_once_by_length_and_groups_have_one_prompt():
    rng, tile = np.random.default_rng(0), TileShape(num_groups=5, group_size=4)
    prompts, counts = rng.integers(0, 9, 61), PAGE * rng.integers(0, 8, 61)
    tiles = arrange(prompts, counts, tile)
    assert sorted(tiles[tiles >= 0]) == list(range(61))
    groups = [group[group >= 0] for group in tiles.reshape(-1, 4)]
    assert all(len(set(prompts[group])) <= 1 for group in groups)
    assert sum(len(group) > 0 for group in groups) == (-(-np.bincount(prompts) // 4)).sum()
    longest = [counts[group].max(initial=0) for group in groups]
    assert longest == sorted(longest, reverse=True)
    assert len(tiles) == -(-sum(len(group) > 0 for group in groups) // 5)
    assert arrange(prompts[:0], counts[:0], tile).shape == (0, 20)


def test_tiles_of_one_shape_hold_all_slots_without_an_almost_empty_one():
    assert tile_shape(512, limit=128, group_size=4) == TileShape(32, 4)
    assert tile_shape(136, limit=128, group_size=4) == TileShape(17, 4)  # two of 68, not 128 and 8
    assert tile_shape(24, limit=3, group_size=8) == TileShape(1, 8)  # a group is never cut
    assert [group_size_for(6, prompt, max_tokens=64) for prompt in (32, 33, 65, 1000)] == [1, 2, 3, 6]


def test_many_slots_are_decoded_in_tiles_only_where_responses_can_end_early(decoder, table, prompts, caplog):
    engine = make_engine(decoder, table, slots=136)
    for stop_ids, program in (((), "(decode)"), ((3,), "(decode_tile)")):
        caplog.clear()
        with jax.log_compiles():
            engine.generate(prompts[:1], Sampling(num_samples=4, max_tokens=8, stop_token_ids=stop_ids), seed=0)
        compiled = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Compiling ")]
        assert [text for text in compiled if program in text]
        assert ("(decode_tile)" in str(compiled)) == (program == "(decode_tile)")

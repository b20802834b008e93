# SPDX-License-Identifier: Apache-2.0
"""What shares the slots with a sample changes no bit of it, and few programs serve any workload."""

import collections

import jax
import numpy as np
import pytest
from flax import nnx

from ntl_jax.models import Decoder, make_mesh
from ntl_jax.records import Prompt, Request, Sampling
from ntl_jax.rollout import JaxEngine
from ntl_jax.rollout.jax.decode import PAGE
from tests.engines import as_bytes, weights_of

SAMPLING = Sampling(num_samples=4, max_tokens=100, stop_token_ids=(3, 5))
MAX_PROMPT_TOKENS = 100  # two blocks of the prompt cache; two blocks of own tokens


def make_engine(decoder, table, slots: int) -> JaxEngine:
    mesh = make_mesh((1, 1, 1), jax.devices()[:1])
    engine = JaxEngine(decoder.config, table, mesh=mesh, slots=slots, max_prompt_tokens=MAX_PROMPT_TOKENS)
    engine.publish(weights_of(decoder))
    return engine


@pytest.fixture(scope="module")
def engine(decoder, table) -> JaxEngine:
    return make_engine(decoder, table, slots=24)


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    rng = np.random.default_rng(0)
    lengths = [3, 33, 70, 100, 1, 66]
    return [Prompt(i, rng.integers(0, 40, lengths[i % 6]).astype(np.int32), "", "1") for i in range(20)]


@pytest.mark.optimized
def test_samples_are_the_same_bits_in_any_order_and_among_any_neighbors(engine, prompts):
    for seed in range(8):
        expected = as_bytes(engine.generate(prompts, SAMPLING, seed=seed))
        assert max(len(ids) for ids, *_ in expected.values()) // 4 > 48  # some reached the second block
        for chosen in (prompts[::-1], prompts[7:8], prompts[:6], prompts[3:20:4], [prompts[4], prompts[9]]):
            for sample, found in as_bytes(engine.generate(chosen, SAMPLING, seed=seed)).items():
                assert found == expected[sample]


@pytest.mark.optimized
def test_across_slot_counts_at_least_99_percent_of_the_samples_are_identical(decoder, table, engine, prompts):
    same = []
    for slots in (8, 128):
        other = make_engine(decoder, table, slots)
        for seed in range(3):
            pairs = zip(
                engine.generate(prompts, SAMPLING, seed=seed), other.generate(prompts, SAMPLING, seed=seed), strict=True
            )
            for a, b in pairs:
                same.append(np.array_equal(a.response_ids, b.response_ids))
                if same[-1]:
                    np.testing.assert_allclose(a.rollout_log_probs, b.rollout_log_probs, atol=1e-4)
    assert np.mean(same) >= 0.99


def test_a_handful_of_programs_serves_any_workload(decoder, table, prompts, caplog):
    """Two lengths of prefill, and decoding with one or two blocks of prompts and of own tokens, in one or four places.

    New weights, seeds, and requests that come while others decode need no further ones.
    """
    engine = make_engine(decoder, table, slots=12)  # of no other test
    with jax.log_compiles():
        for count in (1, 2, 3, 5, 8, 13, 20):
            for seed in range(2):
                engine.publish(weights_of(Decoder(decoder.config, rngs=nnx.Rngs(seed)), iteration=10 * count + seed))
                assert len(engine.generate(prompts[:count], SAMPLING, seed=seed)) == 4 * count
        engine.submit([Request(prompts[0], SAMPLING, 0)])
        for done, _ in enumerate(engine.results()):
            if done < 12:
                engine.submit([Request(prompts[done], SAMPLING, seed) for seed in range(2)])
    compiled = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Compiling ")]
    programs = collections.Counter(name for name in ("_prefill", "decode") for text in compiled if f"({name})" in text)
    assert 0 < programs["_prefill"] <= 2 * 2
    assert 0 < programs["decode"] <= 2 * 2 * 2


def test_slots_are_kept_busy_where_lengths_differ(engine, prompts):
    many = [Prompt(100 * copy + p.index, p.ids, "", "1") for copy in range(6) for p in prompts]
    lengths = np.array([len(t.response_ids) for t in engine.generate(many, SAMPLING, seed=0)])
    assert np.quantile(lengths, 0.9) > 5 * np.median(lengths)
    of_whole_pages = lengths.sum() / (-(-lengths // PAGE) * PAGE).sum()
    assert engine.slot_use >= 0.85 * of_whole_pages


def test_no_prompts_give_no_trajectories(engine):
    assert engine.generate([], SAMPLING, seed=0) == []

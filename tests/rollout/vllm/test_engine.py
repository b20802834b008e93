# SPDX-License-Identifier: Apache-2.0
"""vLLM samples from, and reports, the distribution of the JAX policy whose weights it was given last."""

import dataclasses
import functools
import importlib.util
import multiprocessing
import os
import tempfile
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Float

from ntl_jax.config import VllmSection
from ntl_jax.data import load_tokenizer
from ntl_jax.models import Decoder, ModelConfig
from ntl_jax.numerals import NumberTable, TokenDecoder
from ntl_jax.ops import head_logits
from ntl_jax.records import Prompt, Request, Sampling, Trajectory, Version, VersionSpan, Weights
from ntl_jax.rollout import VllmEngine
from ntl_jax.rollout.jax.sampler.truncation import Truncation, truncate
from ntl_jax.rollout.stopping import length_to_stop
from ntl_jax.rollout.vllm.requests import _log_probs, label_of
from tests.engines import weights_of

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed: make test-vllm"),
    pytest.mark.filterwarnings("ignore"),  # vLLM's own and those of what it imports
]

VOCAB_SIZE, NUM_TOKENS, PROMPT_TOKENS, MAX_TOKENS = 512, 501, 70, 16
BLOCK_SIZE = 32  # prompts fill two blocks, so that their keys and values stay in the prefix cache
SETTINGS = VllmSection(
    kv_cache_memory_bytes=2**26, enforce_eager=True, options=(f"block_size={BLOCK_SIZE}",), bucket_mib=1
)
TABLE = NumberTable.from_vocab({**{str(d): d for d in range(10)}, "Ġ7": 12, "Ġ0": 140}, vocab_size=VOCAB_SIZE)
EMBEDDING_SCALE = 4.0  # a peaked policy: wrong log-probs differ visibly, samples still vary
TIED: dict[str, Any] = {"tie_embeddings": True, "architecture": "Qwen2ForCausalLM"}
UNTIED: dict[str, Any] = {"tie_embeddings": False, "architecture": "Qwen3ForCausalLM"}
VARIANTS = {"tied": (TIED, 1), "untied": (UNTIED, 1), "tied, two workers": (TIED, 2)}
SAMPLING = Sampling(num_samples=4, max_tokens=MAX_TOKENS, stop_token_ids=tuple(range(100, 130)))
PROMPTS = [
    Prompt(7 * i, row.astype(np.int32), "", "1")
    for i, row in enumerate(np.random.default_rng(0).integers(0, 60, (6, PROMPT_TOKENS)))
]


def make_policy(seed: int, **settings: Any) -> Decoder:
    sizes: dict[str, Any] = {"num_layers": 2, "width": 64, "num_heads": 2, "num_kv_heads": 1, "head_dim": 32}
    sizes["feed_forward"] = 2048  # weights of several buckets
    config = ModelConfig(VOCAB_SIZE, num_tokens=NUM_TOKENS, **sizes | settings)
    decoder, rng = Decoder(config, rngs=nnx.Rngs(seed)), np.random.default_rng(seed)
    decoder.embedding[...] = decoder.embedding[...] * EMBEDDING_SCALE
    graph, params = nnx.split(decoder)  # biases are all 0 so far, scales of norms all 1
    return nnx.merge(graph, jax.tree.map(lambda x: x + rng.normal(0, 0.05, x.shape), params))


@functools.partial(jax.jit, static_argnums=0)
def _logits(graph: nnx.GraphDef, params: Any, rows: jax.Array) -> jax.Array:
    decoder = nnx.merge(graph, params)
    return head_logits(decoder(rows), decoder.head(), 1.0, decoder.config.num_tokens)


def policy_logits(decoder: Decoder, trajectories: list[Trajectory]) -> Float[np.ndarray, "tokens V"]:
    """The JAX policy's float32 logits at every sampled token."""
    rows = np.zeros((len(trajectories), PROMPT_TOKENS + MAX_TOKENS), np.int32)
    for row, t in zip(rows, trajectories, strict=True):
        row[: len(t.prompt_ids) + len(t.response_ids)] = np.concatenate([t.prompt_ids, t.response_ids])
    logits = np.asarray(_logits(*nnx.split(decoder), rows))
    first = [len(t.prompt_ids) - 1 for t in trajectories]
    return np.concatenate([x[p : p + len(t.response_ids)] for x, p, t in zip(logits, first, trajectories, strict=True)])


def captured(trajectories: list[Trajectory]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sampled ids, their log-probs, and those of the digits, of all responses."""
    parts = [(t.response_ids, t.rollout_log_probs, t.digit_log_probs) for t in trajectories]
    ids, log_probs, digits = (np.concatenate(part) for part in zip(*parts, strict=True))
    return ids, log_probs, digits


def largest_errors(log_probs: np.ndarray, trajectories: list[Trajectory]) -> tuple[float, float]:
    """Of captured log-probs of tokens and of digits, against a policy's [tokens, V]; inf where supports differ."""
    ids, of_tokens, of_digits = captured(trajectories)
    digits = np.asarray(TABLE.merge_by_value(jnp.asarray(log_probs[:, np.asarray(TABLE.ids)])))
    neither = np.isneginf(digits) & np.isneginf(of_digits)
    token_errors = np.abs(log_probs[np.arange(len(ids)), ids] - of_tokens)
    return float(token_errors.max()), float(np.abs(np.where(neither, 0.0, digits - of_digits)).max())


def sampling_errors(decoder: Decoder, trajectories: list[Trajectory], temperature: float = 1.0) -> tuple[float, float]:
    """The same against the policy's whole distribution at a temperature."""
    logits = policy_logits(decoder, trajectories) / temperature
    return largest_errors(np.asarray(jax.nn.log_softmax(logits, axis=-1)), trajectories)


def make_engine(decoder: Decoder, workers: int) -> VllmEngine:
    return VllmEngine(
        decoder.config, TABLE, max_prompt_tokens=PROMPT_TOKENS, max_tokens=MAX_TOKENS, tokenizer=load_tokenizer(),
        settings=dataclasses.replace(SETTINGS, tensor_parallel_size=workers),
    )  # fmt: skip


@pytest.fixture(scope="module", params=VARIANTS.values(), ids=list(VARIANTS))
def variant(request) -> tuple[dict[str, Any], int]:
    return request.param


@pytest.fixture(scope="module")
def family(variant) -> dict[str, Any]:
    return variant[0]


@pytest.fixture(scope="module")
def engine(variant):
    family, workers = variant
    engine = make_engine(make_policy(0, **family), workers)
    yield engine
    engine.close()
    with pytest.raises(RuntimeError, match="it is closed"):
        engine.generate(PROMPTS, SAMPLING, seed=0)


@pytest.fixture
def policy(engine, family):
    """The policy that the engine has; nothing is transferred where it has it already."""
    decoder = make_policy(0, **family)
    engine.publish(weights_of(decoder))
    return decoder


def responses(trajectories) -> list[list[int]]:
    return [t.response_ids.tolist() for t in trajectories]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_of_tokens_and_digits_equal_the_policys(engine, policy, temperature):
    trajectories = engine.generate(PROMPTS, dataclasses.replace(SAMPLING, temperature=temperature), seed=1)
    errors = sampling_errors(policy, trajectories, temperature)
    assert max(errors) <= 1e-4
    assert trajectories[0].digit_log_probs.shape == (len(trajectories[0].response_ids), 10)


@pytest.mark.parametrize("truncation", [{"top_p": 0.8}, {"top_k": 5}, {"top_p": 0.9, "top_k": 12, "min_p": 0.02}])
def test_truncated_log_probs_and_supports_equal_the_policys(engine, policy, truncation):
    sampling = dataclasses.replace(SAMPLING, temperature=0.9, **truncation)
    trajectories = engine.generate(PROMPTS, sampling, seed=2)
    settings = Truncation(*map(jnp.float32, (sampling.top_p, sampling.top_k, sampling.min_p)))
    logits = truncate(jnp.asarray(policy_logits(policy, trajectories) / 0.9), settings)
    log_probs = np.asarray(jax.nn.log_softmax(logits, axis=-1))
    assert np.isneginf(captured(trajectories)[2]).any()
    assert max(largest_errors(log_probs, trajectories)) <= 1e-4


def test_temperature_zero_takes_the_likeliest_token_and_reports_temperature_one(engine, policy):
    trajectories = engine.generate(PROMPTS, dataclasses.replace(SAMPLING, temperature=0.0), seed=0)
    assert max(sampling_errors(policy, trajectories)) <= 1e-4
    np.testing.assert_array_equal(captured(trajectories)[0], policy_logits(policy, trajectories).argmax(-1))


def test_samples_follow_from_seed_prompt_and_sample_index_and_not_from_order_or_neighbours(engine, policy):
    first = engine.generate(PROMPTS, SAMPLING, seed=1)
    assert [(t.prompt_index, t.sample_index) for t in first] == [(p.index, g) for p in PROMPTS for g in range(4)]
    turned = engine.generate(PROMPTS[::-1], SAMPLING, seed=1)
    alone = [t for prompt in PROMPTS for t in engine.generate([prompt], SAMPLING, seed=1)]
    for again in (sorted(turned, key=lambda t: t.prompt_index), alone):
        same = [a == b for a, b in zip(responses(first), responses(again), strict=True)]
        assert np.mean(same) >= 0.95  # of 24: at most one
    assert responses(first) != responses(engine.generate(PROMPTS, SAMPLING, seed=2))
    assert len(set(map(tuple, responses(first)[:4]))) > 1  # the samples of one prompt differ


def test_a_prompt_that_is_drawn_twice_has_different_samples_in_each_draw(engine):
    twins = [PROMPTS[0], dataclasses.replace(PROMPTS[0], draw=PROMPTS[0].draw + len(PROMPTS))]
    first, second = np.split(np.array(engine.generate(twins, SAMPLING, seed=1), object), 2)
    assert [t.draw for t in (first[0], second[0])] == [twin.draw for twin in twins]
    assert responses(first) != responses(second)


def test_a_response_ends_with_its_first_stop_token_or_at_the_limit(engine, policy):
    reasons = set()
    for trajectory in engine.generate(PROMPTS, SAMPLING, seed=0):
        stops = np.flatnonzero(np.isin(trajectory.response_ids, SAMPLING.stop_token_ids)).tolist()
        stopped = trajectory.finish_reason == "stop"
        assert stops == ([len(trajectory.response_ids) - 1] if stopped else [])
        assert stopped or len(trajectory.response_ids) == MAX_TOKENS
        reasons.add(trajectory.finish_reason)
    assert reasons == {"stop", "length"}


def test_a_stop_string_ends_the_response_with_the_token_that_completes_it(engine, policy):
    free = engine.generate(PROMPTS, Sampling(4, MAX_TOKENS), seed=0)
    decode = TokenDecoder(load_tokenizer())
    text, starts = decode(free[3].response_ids)
    stop = text[starts[4] : starts[6] + 1]
    for capture_digits in (True, False):
        sampling = Sampling(4, MAX_TOKENS, stop_strings=(stop,), capture_digits=capture_digits)
        for before, after in zip(free, engine.generate(PROMPTS, sampling, seed=0), strict=True):
            length = length_to_stop(before.response_ids, [stop], decode)
            assert after.finish_reason == ("length" if length is None else "stop")
            assert after.response_ids.tolist() == before.response_ids[:length].tolist()
            assert len(after.rollout_log_probs) == len(after.response_ids)
            assert (after.digit_log_probs is not None) == capture_digits


def test_a_special_token_as_stop_string_is_a_stop_id_and_part_of_its_name_does_not_match(engine, policy):
    """Special tokens decode to no text, so "|" is not found in them; neither do ids past the tokenizer."""
    free = engine.generate(PROMPTS, Sampling(40, MAX_TOKENS), seed=0)
    sampling = Sampling(40, MAX_TOKENS, stop_strings=("<|endoftext|>", "|pad"))
    ended = engine.generate(PROMPTS, sampling, seed=0)
    stopped = [1 in t.response_ids for t in free]
    assert any(stopped) and any(0 in t.response_ids for t in free)
    assert np.mean([(t.finish_reason == "stop") == s for t, s in zip(ended, stopped, strict=True)]) >= 0.95
    assert all((1 in t.response_ids) == (t.finish_reason == "stop") for t in ended)
    with pytest.raises(ValueError, match="would never be found"):
        engine.generate(PROMPTS, Sampling(1, 1, stop_strings=("<|endoftext|>\n",)), seed=0)


def test_ids_past_the_tokenizer_are_never_sampled_and_refused_in_prompts(engine, policy):
    """At a high temperature, 11 of 512 ids would be about one in fifty tokens."""
    sampling = dataclasses.replace(SAMPLING, num_samples=40, temperature=2.0)
    ids = np.concatenate(responses(engine.generate(PROMPTS, sampling, seed=3)))
    assert ids.max() < NUM_TOKENS and len(ids) > 1000
    beyond = dataclasses.replace(sampling, stop_token_ids=(*SAMPLING.stop_token_ids, NUM_TOKENS, VOCAB_SIZE))
    assert len(engine.generate(PROMPTS[:1], beyond, seed=3)) == 40
    with pytest.raises(ValueError, match=r"prompt 0 holds ids outside \[0, 501\): from 501 to 501"):
        engine.generate([Prompt(0, np.array([NUM_TOKENS], np.int32), "", "1")], SAMPLING, seed=0)


def test_new_weights_give_the_new_policys_log_probs_and_not_the_olds(engine, policy, family):
    """Also of prompts whose keys and values are cached, and of a head that is tied."""
    before = engine.generate(PROMPTS, SAMPLING, seed=1)
    new = make_policy(1, **family)
    engine.publish(weights_of(new, 7))
    after = engine.generate(PROMPTS, SAMPLING, seed=1)
    for trajectories, version in ((before, Version(0)), (after, Version(7))):
        assert all(t.versions == (VersionSpan(0, len(t.response_ids), version),) for t in trajectories)
    assert max(sampling_errors(new, after)) <= 1e-4
    assert min(sampling_errors(policy, after)) > 0.1


def test_requests_submitted_at_different_times_are_finished_one_sampling_after_the_other(engine, policy):
    """Those of one Sampling together, each with the samples that its own seed gives."""
    short = dataclasses.replace(SAMPLING, max_tokens=5, capture_digits=False)
    engine.submit([Request(p, SAMPLING, seed=p.index) for p in PROMPTS[:3]])
    engine.submit([Request(p, short, 0) for p in PROMPTS])
    groups = [next(engine.results())]
    engine.submit([Request(p, short, 1) for p in PROMPTS])
    assert engine.unfinished == 14
    groups += engine.results()
    assert [[t.sample_index for t in group] for group in groups] == [list(range(4))] * 15
    assert {group[0].draw for group in groups[:3]} == {p.draw for p in PROMPTS[:3]}
    assert all(t.digit_log_probs is not None for group in groups[:3] for t in group)
    assert max(len(t.response_ids) for group in groups[3:] for t in group) == 5
    found = {group[0].draw: responses(group) for group in groups[:3]}
    expected = {p.draw: responses(engine.generate([p], SAMPLING, seed=p.index)) for p in PROMPTS[:3]}
    assert np.mean([a == b for draw in found for a, b in zip(found[draw], expected[draw], strict=True)]) > 0.9


def test_requests_in_flight_are_finished_with_the_weights_that_they_were_submitted_under(engine, policy, family):
    engine.submit([Request(p, SAMPLING, 1) for p in PROMPTS])
    new = make_policy(1, **family)
    engine.publish(weights_of(new, 12))
    engine.submit([Request(p, SAMPLING, 1) for p in PROMPTS])
    groups = list(engine.results())
    for decoder, version, part in ((policy, 0, groups[:6]), (new, 12, groups[6:])):
        trajectories = [t for group in part for t in group]
        assert {t.version for t in trajectories} == {Version(version)}
        assert max(sampling_errors(decoder, trajectories)) <= 1e-4


def test_nothing_is_lent_and_a_version_that_vllm_holds_is_not_transferred_again(engine, policy):
    engine.submit([Request(PROMPTS[0], SAMPLING, 0)])
    with pytest.raises(ValueError, match="1 requests are unfinished and need the published weights"):
        engine.retract()
    assert len(list(engine.results())) == 1 and not engine.lent
    engine.retract()
    with pytest.raises(ValueError, match=r"no weights to sample from: publish\(Weights"):
        engine.generate(PROMPTS, SAMPLING, seed=1)
    engine.publish(Weights(Version(0), params=None))  # of which it reads nothing
    assert max(sampling_errors(policy, engine.generate(PROMPTS, SAMPLING, seed=1))) <= 1e-4


def test_weights_of_other_shapes_are_refused_and_the_engine_keeps_its_own(engine, policy, family):
    with pytest.raises(
        ValueError, match=r"iteration=8.* do not fit .* such as model\.layers\.0\.mlp\.down_proj\.weight"
    ):
        engine.publish(weights_of(make_policy(1, **family, feed_forward=64), 8))
    trajectories = engine.generate(PROMPTS, SAMPLING, seed=1)
    assert {t.version for t in trajectories} == {Version(0)}
    assert max(sampling_errors(policy, trajectories)) <= 1e-4


@pytest.mark.parametrize("where", ["here", "inside vLLM"])
def test_nothing_is_sampled_from_weights_that_arrived_in_part_and_whole_ones_mend_it(engine, policy, variant, where):
    """Wherever the transfer fails, layers are left that wait for the rest of their weights."""
    family, workers = variant
    if workers > 1 and where != "here":
        pytest.skip("the engine cannot be used again")
    broken = make_policy(2, **family)
    jax.tree.leaves(nnx.state(broken, nnx.Param))[-3].delete()
    with pytest.raises(RuntimeError, match="deleted"):
        engine.publish(weights_of(broken, 9))
    if where != "here":  # vLLM ends the update itself
        with pytest.raises((AssertionError, RuntimeError, ValueError)):
            engine._llm.update_weights({"update_info": {"bucket": {"model.norm.weight": np.zeros(3, np.float32)}}})
    with pytest.raises(RuntimeError, match=r"iteration=9.* arrived in part only; a publish\(\) must succeed first"):
        engine.generate(PROMPTS, SAMPLING, seed=1)
    engine.publish(weights_of(policy, 10))
    trajectories = engine.generate(PROMPTS, SAMPLING, seed=1)
    assert {t.version for t in trajectories} == {Version(10)}
    assert max(sampling_errors(policy, trajectories)) <= 1e-4


def test_log_probs_that_vllm_leaves_out_are_missed(engine, policy):
    """Of requests that run together and ask for different ones, it leaves some out without a word."""
    ours, other = (engine._sampling_params(Request(PROMPTS[0], SAMPLING, 0), 0) for _ in range(2))
    other.logprobs, other.logprob_token_ids = 12, None
    prompts = [{"prompt_token_ids": p.ids.tolist()} for p in PROMPTS[:2]]
    alone = engine._llm.generate(prompts[1:], [other], use_tqdm=False)[0].outputs[0].logprobs
    first, second = (o.outputs[0] for o in engine._llm.generate(prompts, [ours, other], use_tqdm=False))
    assert not np.isneginf(alone.logprobs).any() and np.isneginf(second.logprobs.logprobs).any()
    asked = TABLE.ids.tolist()
    assert _log_probs(first, asked).shape == (len(first.token_ids), 13)
    with pytest.raises(RuntimeError, match="other ids than the 12 that were asked for"):
        _log_probs(second, asked)


def test_what_vllm_cannot_sample_is_named_all_at_once(engine):
    with pytest.raises(ValueError) as error:
        engine.generate(PROMPTS, Sampling(1, MAX_TOKENS + 1, temperature=3.0, capture_entropy=True), seed=0)
    for part in (f"max_tokens=17: the engine was made for {MAX_TOKENS}", "temperature=3.0", "capture_entropy"):
        assert part in str(error.value)


def test_a_second_engine_beside_one_in_this_process_is_refused(engine, policy, variant):
    if variant[1] > 1:
        pytest.skip("its workers are processes of their own")
    with pytest.raises(ValueError, match=r"already runs in this process: close\(\) it first"):
        make_engine(policy, 1)


def test_an_engine_whose_workers_die_while_it_samples_is_used_no_more(engine, policy, variant):
    """No test of this engine finds a running one after it."""
    if variant[1] == 1:
        pytest.skip("its worker is this process")
    workers = [child for child in multiprocessing.active_children() if child.name.startswith("VllmWorker")]
    for worker in workers:
        threading.Timer(0.5, worker.kill).start()
    with pytest.raises((RuntimeError, AssertionError)):  # as vLLM answers, depending on where it was
        engine.generate(PROMPTS, dataclasses.replace(SAMPLING, num_samples=200), seed=0)
    assert len(workers) == 2
    for call in (lambda: engine.generate(PROMPTS, SAMPLING, seed=0), lambda: engine.publish(weights_of(policy, 11))):
        with pytest.raises(RuntimeError, match="broke off while it sampled"):
            call()


def test_an_engine_whose_workers_fail_at_a_transfer_is_used_no_more(variant, monkeypatch, tmp_path):
    """They reach no file in a folder that is open in this process alone. Two workers, without those of the others."""
    if variant[1] == 1:
        pytest.skip("its worker is this process")
    policy = make_policy(0, **variant[0])
    engine = make_engine(policy, variant[1])
    folder = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(tempfile, "tempdir", f"/proc/self/fd/{folder}")
    for answer in ("Worker failed", "its workers took weights"):
        with pytest.raises(RuntimeError, match=answer):
            engine.publish(weights_of(policy, 11))
    engine.close()
    os.close(folder)


def test_tokens_of_another_version_than_the_engine_transferred_are_an_error(engine, variant):
    """The last test of an engine with one worker, since it ends the engine."""
    if variant[1] > 1:
        pytest.skip("it is ended already")
    engine.publish(weights_of(make_policy(0, **variant[0])))
    engine._llm.update_weight_version(label_of(Version(99)))
    with pytest.raises(AssertionError):
        engine.generate(PROMPTS, SAMPLING, seed=0)
    with pytest.raises(RuntimeError, match="broke off while it sampled"):
        engine.generate(PROMPTS, SAMPLING, seed=0)

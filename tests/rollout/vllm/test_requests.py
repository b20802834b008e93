# SPDX-License-Identifier: Apache-2.0
"""Requests and responses in vLLM's terms, without a vLLM: what it is asked, and how its answers are read."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest

from ntl_jax.records import Prompt, Request, Sampling, Version, VersionSpan
from ntl_jax.rollout.vllm.requests import (
    Group,
    Reader,
    _spans,
    check_samplings,
    label_of,
    sampling_params,
    version_of,
)

SAMPLING = Sampling(num_samples=1, max_tokens=8, temperature=0.7, stop_token_ids=(3, 50), capture_digits=False)
PROMPT = Prompt(2, np.array([1, 2]), "", "1", draw=12)


@dataclasses.dataclass
class LogProbs:
    """As vLLM's ``FlatLogprobs`` holds them: the ids and log-probs of all tokens in a row."""

    token_ids: list[int]
    logprobs: list[float]


@dataclasses.dataclass
class Response:
    """As vLLM's ``CompletionOutput`` holds one."""

    token_ids: list[int]
    logprobs: LogProbs
    finish_reason: str = "stop"
    weight_versions: list["Span"] = dataclasses.field(default_factory=lambda: [Span(label_of(Version(4)), 0, 3)])


class Span(NamedTuple):
    """As vLLM's ``WeightVersionSpan``."""

    version: str
    start: int
    end: int


def request(index: int = 0, **settings: Any) -> Request:
    return Request(dataclasses.replace(PROMPT, index=index), dataclasses.replace(SAMPLING, **settings), seed=7)


def test_settings_are_handed_over_and_a_response_ends_where_it_is_asked_to_alone():
    params = sampling_params(request(top_k=5, stop_strings=("####",)), 0, num_ids=40, digit_ids=[4, 5])
    assert (params["temperature"], params["top_k"], params["max_tokens"]) == (0.7, 5, 8)
    assert (params["stop_token_ids"], params["stop"], params["detokenize"]) == ([3], ["####"], True)
    assert (params["ignore_eos"], params["logprobs"], params["logprob_token_ids"]) == (True, None, [4, 5])
    plain = sampling_params(request(), 0, num_ids=40, digit_ids=[])
    assert (plain["stop"], plain["detokenize"], plain["logprobs"], plain["logprob_token_ids"]) == ([], False, 0, None)


def test_every_sample_of_every_draw_has_a_seed_of_its_own_that_is_always_the_same():
    asked = [Request(dataclasses.replace(PROMPT, draw=draw), SAMPLING, seed) for seed in range(3) for draw in range(3)]
    seeds = [sampling_params(r, index, 40, [])["seed"] for r in asked for index in range(3)]
    assert len(set(seeds)) == 27 and all(0 <= seed < 2**63 for seed in seeds)
    assert seeds == [sampling_params(r, index, 40, [])["seed"] for r in asked for index in range(3)]


def test_what_vllm_cannot_sample_is_named_all_at_once_and_zero_is_a_temperature():
    check_samplings([dataclasses.replace(SAMPLING, temperature=t) for t in (0.0, 0.01, 2.0)], max_tokens=8)
    wrong = [dataclasses.replace(SAMPLING, temperature=0.001, capture_entropy=True), Sampling(1, 9)]
    with pytest.raises(
        ValueError, match=r"temperature=0\.001: .*capture_entropy.*max_tokens=9: the engine was made for 8"
    ):
        check_samplings(wrong, max_tokens=8)


def test_responses_become_trajectories_with_the_log_probs_of_their_tokens(table):
    groups = [
        Group(request(index), [Response([9, i, 3], LogProbs([9, i, 3], [-0.1, -0.2, -0.3]), reason)])
        for index, (i, reason) in enumerate([(5, "stop"), (6, "length")])
    ]
    (first,), (second,) = Reader(table, None)(groups)
    assert (first.response_ids.tolist(), second.response_ids.tolist()) == ([9, 5, 3], [9, 6, 3])
    np.testing.assert_allclose(first.rollout_log_probs, [-0.1, -0.2, -0.3], rtol=1e-6)
    assert (first.prompt_index, second.prompt_index, first.draw, first.digit_log_probs) == (0, 1, 12, None)
    assert (first.finish_reason, second.finish_reason) == ("stop", "length")
    assert first.versions == (VersionSpan(0, 3, Version(4)),)
    assert Reader(table, None)([]) == []


def test_versions_are_vllms_spans_up_to_the_end_of_the_response():
    """A response with a stop string may end before vLLM's own."""
    versions = [Version(4), Version(4, "average"), Version(10)]
    response = Response([9, 5, 3, 7], LogProbs([], []), weight_versions=[
        Span(label_of(version), start, end) for version, start, end in zip(versions, (0, 1, 3), (1, 3, 4), strict=True)
    ])  # fmt: skip
    whole = (VersionSpan(0, 1, versions[0]), VersionSpan(1, 3, versions[1]), VersionSpan(3, 4, versions[2]))
    assert _spans(response, 4) == whole and _spans(response, 3) == whole[:2]
    assert _spans(response, 2) == (whole[0], VersionSpan(1, 2, versions[1]))
    assert all(version_of(label_of(version)) == version for version in versions)


def test_log_probs_of_a_digits_several_ids_are_added(table):
    reader, asked = Reader(table, None), request(capture_digits=True)
    ids = reader.digit_ids(asked.sampling)
    assert sorted(ids) == [*range(10), 12] and reader.digit_ids(SAMPLING) == []
    log_probs = np.log(np.linspace(0.01, 0.05, len(ids)))
    response = Response([33], LogProbs([33, *ids], [-1.5, *log_probs.tolist()]))
    ((trajectory,),) = reader([Group(asked, [response])])
    of_id = dict(zip(ids, np.exp(log_probs), strict=True))
    expected = [of_id[d] + (of_id[12] if d == 7 else 0) for d in range(10)]
    assert trajectory.digit_log_probs is not None
    np.testing.assert_allclose(np.exp(trajectory.digit_log_probs[0]), expected, rtol=1e-5)


@pytest.mark.parametrize(("ids", "reason"), [([9, 4], "stop"), ([9, 5], "abort"), ([9], "stop")])
def test_log_probs_of_other_ids_and_given_up_responses_are_errors(table, ids, reason):
    response = Response([9, 5], LogProbs(ids, [-0.1] * len(ids)), reason)
    with pytest.raises(RuntimeError, match=f"ended a response of 2 tokens with '{reason}'"):
        Reader(table, None)([Group(request(), [response])])

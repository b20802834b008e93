# SPDX-License-Identifier: Apache-2.0
"""Scored samples of several calls, joined, are those of one call."""

import dataclasses

import chex
import numpy as np
import pytest

from ntl_jax.experience.scored import Scored, join_scored
from ntl_jax.records import NTLInfo
from ntl_jax.rewards import RewardOutcome
from tests.samples import ask, make_scorer, respond

PROMPTS = [ask(0), ask(1, "12"), ask(2, "7")]
TEXTS = ["#### 5", "2+10=12, so #### 12", "no idea"]
ROWS = np.array([2, 0, 5, 1])


def sampled(prompts):
    return [respond(prompt, TEXTS[prompt.index], sample) for prompt in prompts for sample in range(2)]


def scored(prompts=PROMPTS, **ntl) -> Scored:
    asked = [prompt for prompt in prompts for _ in range(2)]
    return make_scorer(**ntl)(asked, sampled(prompts), tau=1.0)


def of_outcomes(*scores: float) -> Scored:
    return scored(PROMPTS[:2])._replace(outcomes=[RewardOutcome.of(x) for x in scores])


def entries(info: NTLInfo) -> dict:
    return {field.name: getattr(info, field.name) for field in dataclasses.fields(info)}


def test_a_sample_without_a_reward_has_score_zero_and_is_not_valid():
    samples = of_outcomes(0.9, np.nan, -1.5, 1)
    np.testing.assert_allclose(samples.scores, [0.9, 0, -1.5, 1])
    assert samples.scores.dtype == np.float32
    assert samples.valid.tolist() == [True, False, True, True]
    assert samples.exact_match.tolist() == [True] * 4


def test_several_rewards_of_a_sample_are_read_by_their_keys():
    results = [{"score": 1, "near": 0.5}, {"score": 0, "near": 0.25, "length": 7}, np.nan, {"score": 2, "near": 0}]
    samples = of_outcomes(0, 0, 0, 0)._replace(outcomes=[RewardOutcome.of(result) for result in results])
    assert samples.of_keys(("near", "score")).tolist() == [[0.5, 1], [0.25, 0], [0, 0], [0, 2]]
    assert samples.of_keys(("score",))[:, 0].tolist() == samples.scores.tolist()


@pytest.mark.parametrize("extract", [True, False])
def test_samples_of_several_calls_are_those_of_one(extract):
    """The calls have responses of other lengths, so that their records are padded to another one."""
    settings = dict.fromkeys(("extract_during_generation", "extract_during_log_prob"), extract)
    parts = [scored(PROMPTS[:1], **settings), scored(PROMPTS[1:], **settings)]
    whole, joined = scored(**settings), join_scored(parts, ROWS)
    assert [p.index for p in joined.prompts] == [1, 0, 2, 0]
    assert [t.sample_index for t in joined.trajectories] == [0, 0, 1, 1]
    assert [r.text for r in joined.readings] == [TEXTS[i] for i in (1, 0, 2, 0)]
    assert joined.scores.tolist() == whole.scores[ROWS].tolist()
    assert joined.ntl_info is not None and whole.ntl_info is not None
    expected = {
        name: tuple(x[i] for i in ROWS) if isinstance(x, tuple) else x[ROWS] if isinstance(x, np.ndarray) else x
        for name, x in entries(whole.ntl_info).items()
    }
    found = entries(joined.ntl_info)
    for name in ("method", "sequence_strings"):
        assert found.pop(name) == expected.pop(name)
    chex.assert_trees_all_equal(found, expected)


def test_without_records_there_is_none_to_join():
    assert join_scored([scored(enabled=False)], np.array([1])).ntl_info is None


def test_reasons_are_renumbered_and_the_errors_of_replaced_samples_stay():
    first = scored(PROMPTS[:1])._replace(fallbacks={1: "first"}, reward_errors=[(0, "failed")])
    second = scored(PROMPTS[1:])._replace(fallbacks={0: "second", 2: "third"}, reward_errors=[(2, "failed too")])
    joined = join_scored([first, second], np.array([4, 1, 0]))
    assert joined.fallbacks == {0: "third", 1: "first"}
    assert joined.reward_errors == [(0, "failed"), (2, "failed too")]

# SPDX-License-Identifier: Apache-2.0
"""Probabilities of digits come from the engine where it captured them, and from the trainer's pass where it did not."""

import dataclasses

import numpy as np
import pytest

from ntl_jax.config import NTLSection
from ntl_jax.experience.digits.ntl_info import blank_labels
from ntl_jax.experience.digits.source import DigitSource, captures_digits
from tests.samples import ask, make_scorer, respond

PROMPTS = [ask(0), ask(1, "12")]
CAPTURED = [respond(prompt, text) for prompt, text in zip(PROMPTS, ["#### 5", "2+9=11"], strict=True)]
PARTLY = [CAPTURED[0], dataclasses.replace(CAPTURED[1], digit_log_probs=None)]
NOTHING = [dataclasses.replace(t, digit_log_probs=None) for t in CAPTURED]


def no_labels(prompts, trajectories):
    raise AssertionError("labels are needed for tokens of several digits alone")


@pytest.mark.parametrize(
    ("settings", "of_digits", "of_numbers"),
    [
        ({}, True, False),
        ({"enabled": False}, False, False),
        ({"extract_during_generation": False}, False, False),
        ({"extract_during_log_prob": False}, True, False),
    ],
    ids=str,
)
def test_engines_capture_digits_where_they_are_asked_for_and_tokens_are_digits(
    settings, of_digits, of_numbers, digits, long_numbers
):
    section = NTLSection(**settings)
    assert captures_digits(section, digits) == of_digits and captures_digits(section, long_numbers) == of_numbers


@pytest.mark.parametrize(
    ("settings", "sampled"),
    [
        ({}, CAPTURED),
        ({"enabled": False}, NOTHING),
        ({"extract_during_log_prob": False}, PARTLY),
        ({"extract_during_log_prob": False, "extract_during_generation": False}, NOTHING),
    ],
    ids=str,
)
def test_trajectories_pass_unchanged_where_nothing_is_missing_or_nothing_asked_for(
    settings, sampled, digits, digit_pass, params
):
    source = DigitSource(NTLSection(**settings), digits, digit_pass, no_labels)
    assert source(params, PROMPTS, sampled, 1.0) is sampled


@pytest.mark.parametrize(
    ("settings", "sampled"),
    [({}, NOTHING), ({}, PARTLY), ({"extract_during_generation": False}, CAPTURED)],
    ids=["nothing captured", "partly captured", "capture not asked for"],
)
def test_the_pass_fills_in_all_digits_where_the_engine_did_not(settings, sampled, digits, digit_pass, params):
    source = DigitSource(NTLSection(**settings), digits, digit_pass, no_labels)
    filled = source(params, PROMPTS, sampled, 0.7)
    for t, before, expected in zip(filled, sampled, digit_pass.digit_log_probs(params, sampled, 0.7), strict=True):
        np.testing.assert_array_equal(t.digit_log_probs, expected)
        assert t.response_ids is before.response_ids and t.number_readings is None
    scored = make_scorer(**settings)(PROMPTS, filled, tau=1.0)
    assert scored.ntl_info is not None and scored.ntl_info.digit_log_probs is not None and not scored.fallbacks


def test_what_tokens_of_several_digits_say_is_read_off_by_the_pass(long_numbers, number_pass, params):
    labels = [blank_labels(len(t.response_ids)) for t in NOTHING]
    source = DigitSource(NTLSection(), long_numbers, number_pass, lambda prompts, trajectories: labels)
    filled = source(params, PROMPTS, NOTHING, 1.0)
    for t, expected in zip(filled, number_pass.readings(params, NOTHING, labels, 1.0), strict=True):
        assert t.number_readings is not None and t.digit_log_probs is None
        for found, value in zip(t.number_readings, expected, strict=True):
            np.testing.assert_array_equal(found, value)


def test_capture_alone_is_refused_for_tokens_of_several_digits(digits, long_numbers, digit_pass):
    section = NTLSection(extract_during_log_prob=False)
    with pytest.raises(ValueError, match=r"several digits as one token(.|\n)*extract_during_log_prob=true"):
        DigitSource(section, long_numbers, digit_pass, no_labels)
    DigitSource(section, digits, digit_pass, no_labels)
    confidence = dataclasses.replace(section, extract_during_generation=False)
    DigitSource(confidence, long_numbers, digit_pass, no_labels)

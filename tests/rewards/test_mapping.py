# SPDX-License-Identifier: Apache-2.0
"""Reward files that read the record as a dictionary run unmodified, and return the values of their formulas."""

import json
import math
import pathlib

import numpy as np
import pytest

from ntl_jax.experience.digits.ntl_info import blank_labels, build_ntl_info
from ntl_jax.numerals import find_answer, label_response
from ntl_jax.rewards import RewardFunction

FILES = pathlib.Path(__file__).parent / "files"
GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "migrating_from_verl.md"
TEXTS = ("#### 72", "#### 76", "none")


def on_two(likely: int, other: int) -> np.ndarray:
    """Log-probs of ten digits: 0.75 on one, 0.25 on another."""
    probs = np.full(10, 1e-30)
    probs[likely], probs[other] = 0.75, 0.25
    return np.log(probs)


@pytest.fixture(scope="module")
def info():
    """Answers 72, 76 and none for the reference 72; probabilities: 7 and 2 have 0.75, 8 and 6 have 0.25.

    Expectations 7.25 and 3, so the losses of 72 and of 76 are (0.25^2 + 1^2) / 2 = 0.53125.
    """
    rows, labels = [], []
    for text in TEXTS:
        row = np.full((len(text), 10), -1.0)
        row[-2:] = on_two(7, 8), on_two(2, 6)
        digits = np.array([int(c) if c.isdigit() else -1 for c in text])
        rows.append(row.astype(np.float32))
        labels.append(label_response(text, np.arange(len(text)), digits, "72", answer=find_answer(text)))
    return build_ntl_info(rows, labels, TEXTS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bonus_by_get", [1 + 0.1 * math.exp(-0.53125), 0.1 * math.exp(-0.53125), 0.0]),
        ("bonus_guarded_by_in", [1 + 0.2, 0.2, 0.0]),  # the most likely digits are right in both
        # ln 0.75 = -0.29 twice; -0.29 and ln 0.25 = -1.39, mean -0.84, one of them doubtful; no digit: -inf
        ("certainty_by_item", [1.1, -0.1, 0.0]),
    ],
)
def test_reward_files_that_read_a_dictionary_run_unmodified(info, name, expected):
    reward = RewardFunction(f"{FILES / name}.py:compute_score")
    call = {"data_source": "gsm8k", "ground_truth": "72", "extra_info": {}}
    outcomes = reward([call | {"solution_str": x, "ntl_info": info[i : i + 1]} for i, x in enumerate(TEXTS)])
    assert [outcome.error for outcome in outcomes] == [None] * 3
    np.testing.assert_allclose([outcome.score for outcome in outcomes], expected, rtol=1e-4, atol=1e-6)


def test_the_guide_contains_these_files():
    guide = GUIDE.read_text("utf-8")
    for path in FILES.glob("*.py"):
        _, code = path.read_text("utf-8").split("\n\n", maxsplit=1)
        assert code.strip() in guide, path.name


def test_the_record_of_one_sample_maps_to_plain_scalars_and_ragged_lists(info):
    one = info[1:2]
    assert one["digit_positions"] == [5, 6]
    assert one["digit_values"] == [7, 6]
    assert one["digit_ground_truth"] == [7, 2]
    np.testing.assert_allclose(one["digit_log_probs_selected"], np.log([0.75, 0.25]), rtol=1e-5)
    assert np.shape(one["digit_log_probs"]) == (2, 10)
    assert (one["total_digits"], one["correct_digits"], one["missing_places"]) == (2, 2, 0)
    assert one["ntl_loss"] == pytest.approx(0.53125, rel=1e-4)
    assert one["has_digits"] is True
    assert (one["sequence_strings"], one["method"], one["batch_size"], one["seq_len"]) == ("#### 76", "mse", 1, 7)
    assert {type(value) for value in one.values()} <= {bool, int, float, str, list}
    assert json.loads(json.dumps(dict(one)))["digit_positions"] == [5, 6]


def test_keys_are_those_of_the_dictionary_and_unknown_ones_are_absent(info):
    one = info[0:1]
    assert list(one) == list(one.to_dict()) == list(info)
    assert "ntl_loss" in one and "no_such_name" not in one
    assert one.get("no_such_name", 3.0) == 3.0
    with pytest.raises(KeyError, match=r"no_such_name.*ntl_loss"):
        one["no_such_name"]
    assert one.ntl_loss[0] == one["ntl_loss"]


def test_an_empty_record_is_still_a_record(info):
    none = info[2:3]
    assert none["ntl_loss"] == math.inf and none["avg_digit_log_prob"] == -math.inf
    assert none["digit_positions"] == [] and none["has_digits"] is False
    assert none
    assert "digit_log_probs" in build_ntl_info([np.zeros((1, 10), np.float32)], [blank_labels(1)], ["x"])


def test_the_record_of_several_samples_maps_to_lists_over_them(info):
    assert info["total_digits"] == [2, 2, 0]
    assert info["digit_positions"] == [[5, 6], [5, 6], []]
    assert info["batch_size"] == 3
    assert info == info and info != info[0:3] and len({info, info[0:1]}) == 2

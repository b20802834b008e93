# SPDX-License-Identifier: Apache-2.0
"""The NTL record of a batch holds what NTL's definitions say, checked against numbers worked out by hand."""

import math
from typing import Literal

import numpy as np
import pytest

from ntl_jax.experience.digits.ntl_info import blank_labels, build_ntl_info, confidence_ntl_info
from ntl_jax.numerals import DigitLabels, find_answer, label_response
from ntl_jax.numerals.labels import Mode
from ntl_jax.rewards import compute_full_ntl_reward, ntl_reward

UNIFORM = np.log(np.full(10, 0.1))


def sure(digit: int) -> np.ndarray:
    return np.where(np.arange(10) == digit, 0.0, -40.0)


def between(low: int, high: int, weight: float) -> np.ndarray:
    """A distribution on two digits; its mean is low + weight (high - low)."""
    probs = np.full(10, 1e-30)
    probs[low], probs[high] = 1 - weight, weight
    return np.log(probs)


def respond(
    pieces: list[str], reference: str, rows: dict[int, np.ndarray], mode: Mode = "final_answer"
) -> tuple[np.ndarray, DigitLabels, str]:
    """One response as the texts of its tokens, with the distributions at some of them (uniform elsewhere)."""
    starts = np.cumsum([0, *map(len, pieces)])[:-1]
    digits = np.array([int(p) if p.isdigit() and len(p) == 1 else -1 for p in pieces], np.int8)
    log_probs = np.stack([rows.get(t, UNIFORM) for t in range(len(pieces))]).astype(np.float32)
    text = "".join(pieces)
    return log_probs, label_response(text, starts, digits, reference, answer=find_answer(text), mode=mode), text


def build(*responses, method: Literal["mse", "wasserstein"] = "mse"):
    log_probs, labels, texts = zip(*responses, strict=True)
    return build_ntl_info(log_probs, labels, texts, method=method)


def test_the_worked_example_of_three_expectations_gives_their_mean_squared_error():
    rows = {1: between(1, 2, 0.2), 2: between(7, 8, 0.8), 3: between(6, 7, 0.5)}
    info = build(respond(["#### ", "1", "8", "6"], "186", rows))
    # (1.2 - 1)^2, (7.8 - 8)^2, (6.5 - 6)^2
    np.testing.assert_allclose(info.ntl_loss, [(0.04 + 0.04 + 0.25) / 3], rtol=1e-4)


@pytest.mark.parametrize(("method", "expected"), [("mse", 20.25), ("wasserstein", 4.5)])
def test_a_uniform_policy_at_a_true_zero_costs_what_the_table_says(method, expected):
    info = build(respond(["#### ", "0"], "0", {}), method=method)
    np.testing.assert_allclose(info.ntl_loss, [expected], rtol=1e-5)
    assert info.method == method


@pytest.mark.parametrize(("method", "largest"), [("mse", 81.0), ("wasserstein", 9.0)])
def test_missing_and_surplus_places_cost_the_largest_loss(method, largest):
    info = build(
        respond(["#### ", "2"], "72", {1: sure(2)}),
        respond(["#### ", "7", "2", "0"], "20", {2: sure(2), 3: sure(0)}),
        respond(["#### ", "-", "7", "2"], "72", {2: sure(7), 3: sure(2)}),
        respond(["no", "thing"], "72", {}),
        method=method,
    )
    np.testing.assert_allclose(info.ntl_loss, [largest / 2, largest / 3, largest / 3, np.inf], rtol=1e-5)
    assert info.missing_places.tolist() == [1, 0, 1, 2]
    assert info.surplus.sum(axis=1).tolist() == [0, 1, 0, 0]


def test_a_response_without_any_truth_has_an_infinite_loss():
    label = blank_labels(1)._replace(digits=np.array([7]))
    info = build((UNIFORM[None].astype(np.float32), label, "7"), respond(["#### ", "5"], "5", {1: sure(5)}))
    assert info.ntl_loss[0] == np.inf
    np.testing.assert_allclose(info.ntl_loss[1], 0, atol=1e-6)


@pytest.mark.parametrize("mode", ["final_answer", "hybrid", "all_tokens"])
@pytest.mark.parametrize("tau", [1.0, 9.0, 1e6])
def test_a_response_without_an_answer_gets_reward_0_at_any_temperature(mode, tau):
    log_probs, labels, text = respond(["no", "thing"], "72", {}, mode=mode)
    info = build_ntl_info([log_probs], [labels], [text], method="wasserstein")
    assert info.ntl_loss.tolist() == [np.inf]
    assert info.digit_accuracy.tolist() == [0]
    assert ntl_reward("gsm8k", text, "72", ntl_info=info, tau=tau)["score"] == 0
    assert compute_full_ntl_reward("gsm8k", text, "72", ntl_info=info) == 0


def test_a_wrong_answer_still_gets_a_reward_by_its_distance():
    info = build(respond(["#### ", "9"], "0", {1: sure(9)}), method="wasserstein")
    score = ntl_reward("gsm8k", "#### 9", "0", ntl_info=info, tau=9.0)["score"]
    assert score == pytest.approx(0.5 * math.exp(-1), rel=1e-5)


def test_counts_and_accuracy_follow_their_definitions():
    info = build(
        respond(["3", "+4=", "7", " #### ", "1", "9"], "186", {4: sure(1), 5: sure(9)}),
        respond(["#### ", "5"], "5", {1: sure(5)}),
        respond(["none"], "12", {}),
    )
    assert (info.batch_size, info.seq_len) == (3, 6)
    assert info.total_digits.tolist() == [4, 1, 0]
    # 19 for 186: 1 stands where 8 was due, 9 where 6 was; the hundreds are missing.
    assert info.digit_ground_truth[0].tolist() == [-1, -1, -1, -1, 8, 6]
    assert info.correct_digits.tolist() == [0, 1, 0]
    assert info.digit_accuracy.tolist() == [0, 1, 0]
    assert info.has_digits.tolist() == [True, True, False]
    np.testing.assert_allclose(info.ntl_loss, [(49 + 9 + 81) / 3, 0, np.inf], rtol=1e-5, atol=1e-6)


def test_selected_log_probs_are_those_of_the_sampled_numbers():
    rows = {1: np.log(np.full(10, 0.02)), 2: np.log(np.full(10, 0.05))}
    info = build(respond(["#### ", "7", "2", "."], "72", rows))
    np.testing.assert_allclose(info.digit_log_probs_selected[0], [0, np.log(0.02), np.log(0.05), 0], rtol=1e-6)
    np.testing.assert_allclose(info.avg_digit_log_prob, [(np.log(0.02) + np.log(0.05)) / 2], rtol=1e-6)


def test_a_response_has_the_same_record_in_every_batch():
    responses = [
        respond(["#### ", "1", "9", "."], "186", {1: between(1, 4, 0.3)}),
        respond(["#### ", "5"], "5", {1: between(5, 9, 0.25)}),
        respond(["x"] * 9, "12", {}),
    ]
    batch = build(*responses)
    for i, response in enumerate(responses):
        alone, row = build(response), batch[i : i + 1]
        assert row.ntl_loss.tolist() == alone.ntl_loss.tolist()
        assert row.sequence_strings == alone.sequence_strings
        length = alone.seq_len
        assert row.digit_log_probs is not None
        np.testing.assert_array_equal(row.digit_log_probs[:, :length], alone.digit_log_probs)
        assert not row.digit_log_probs[:, length:].any()
        assert not row.is_digit[:, length:].any()
        assert (row.digit_ground_truth[:, length:] == -1).all()


def test_more_digits_than_one_bucket_holds_are_all_counted():
    many = [respond(["#### ", *"123456789"], "123456789", {9: sure(d)}) for d in range(40)]
    info = build(*many)
    uniform = sum((4.5 - d) ** 2 for d in range(1, 9))
    last = [(d - 9) ** 2 if d < 10 else (4.5 - 9) ** 2 for d in range(40)]
    np.testing.assert_allclose(info.ntl_loss, [(uniform + x) / 9 for x in last], rtol=1e-4)


def test_mass_off_the_digits_does_not_change_the_loss():
    rare, common = between(5, 9, 0.25) - 8, between(5, 9, 0.25)
    losses = build(*(respond(["#### ", "5"], "5", {1: row}) for row in (rare, common))).ntl_loss
    np.testing.assert_allclose(losses, [1, 1], rtol=1e-4)


def test_unknown_methods_and_rows_that_do_not_fit_are_refused():
    log_probs, label, text = respond(["#### ", "5"], "5", {})
    with pytest.raises(ValueError, match="one of"):
        build_ntl_info([log_probs], [label], [text], method="mae")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="same responses"):
        build_ntl_info([log_probs[:1]], [label], [text])
    with pytest.raises(ValueError, match="same responses"):
        build_ntl_info([log_probs], [label], [text, text])


def test_the_confidence_proxy_is_minus_the_mean_log_prob_of_the_sampled_digits():
    _, label, text = respond(["#### ", "1", "8", "6"], "186", {})
    info = confidence_ntl_info([np.array([-3.0, -0.05, -0.1, -0.2], np.float32)], [label], [text])
    np.testing.assert_allclose(info.ntl_loss, [0.11667], atol=1e-5)
    np.testing.assert_allclose(info.avg_digit_log_prob, [-0.11667], atol=1e-5)
    assert info.method == "simplified_from_rollout_log_probs"
    assert info.digit_positions[0].tolist() == [1, 2, 3]
    assert info.digit_values.tolist() == [[-1, 1, 8, 6]]
    assert info.total_digits.tolist() == info.untruthed.tolist() == [3]
    assert info.digit_log_probs is None


def test_the_confidence_proxy_of_a_response_without_digits_is_infinite():
    info = confidence_ntl_info([np.array([-1.0], np.float32)], [blank_labels(1)], ["no"])
    assert info.ntl_loss.tolist() == [np.inf]


def test_the_confidence_proxy_of_a_response_without_an_answer_is_infinite():
    label = blank_labels(1)._replace(digits=np.array([7]), has_answer=False)
    assert confidence_ntl_info([np.array([-1.0], np.float32)], [label], ["7"]).ntl_loss.tolist() == [np.inf]


def test_the_likeliest_digit_and_the_truths_share_are_recorded():
    info = build(respond(["#### ", "6", " apples"], "5", {1: between(5, 6, 0.75) - 3.0}))
    assert info.predicted.tolist() == [[-1, 6, -1]]
    np.testing.assert_allclose(info.confidence, [0.75], rtol=1e-5)
    np.testing.assert_allclose(info.probability_quality, [0.25], rtol=1e-5)
    np.testing.assert_allclose(info.digit_losses, [[0, 0.75**2, 0]], rtol=1e-4)

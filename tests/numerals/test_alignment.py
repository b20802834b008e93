# SPDX-License-Identifier: Apache-2.0
"""Digits of an answer meet the true ones: by place value for measuring, by prefix for the differentiable loss."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntl_jax.numerals import align, find_answer, label_response, parse_numeral

NONE = -1
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,3})?", fullmatch=True)


def aligned(answer: str | None, reference: str):
    return align(None if answer is None else parse_numeral(answer), parse_numeral(reference))


@pytest.mark.parametrize(
    ("answer", "reference", "truth", "surplus", "missing"),
    [
        ("72", "72", (7, 2), "..", 0),
        ("19", "72", (7, 2), "..", 0),
        ("2", "72", (2,), ".", 1),
        ("720", "72", (NONE, 7, 2), "S..", 0),
        ("1,234", "72", (NONE, NONE, 7, 2), "SS..", 0),
        ("5", "105", (5,), ".", 2),
        ("-72", "72", (7, 2), "..", 1),
        ("72", "-72", (7, 2), "..", 1),
        ("-2", "72", (2,), ".", 2),
        ("72.5", "72", (7, 2, NONE), "..S", 0),
        ("72", "72.5", (7, 2), "..", 1),
        ("7.25", "72.5", (2, 5, NONE), "..S", 1),
        ("0.5", "0.05", (0, 0), "..", 1),
        ("1.5", ".5", (0, 5), "..", 0),
        ("0.5", ".5", (0, 5), "..", 0),
        (".5", "0.5", (5,), ".", 0),
        ("0", ".5", (0,), ".", 1),
        (".00", "0", (NONE, NONE), "..", 0),
        (".05", "5", (NONE, NONE), "SS", 1),
        (None, "72", (), "", 2),
        (None, "-1,234.5", (), "", 5),
        ("0", "-5", (5,), ".", 1),
        ("-0", "0", (0,), ".", 0),
    ],
)
def test_digits_meet_those_of_the_same_place(answer, reference, truth, surplus, missing):
    alignment = aligned(answer, reference)
    assert alignment.truth == truth
    assert alignment.surplus == tuple(c == "S" for c in surplus)
    assert alignment.missing_places == missing


@pytest.mark.parametrize(
    ("answer", "reference", "truth"),
    [
        ("072", "72", (NONE, 7, 2)),
        ("72.00", "72", (7, 2, NONE, NONE)),
        ("00", "0", (NONE, 0)),
        ("072", "172", (1, 7, 2)),
        ("0.72", "72", (2, NONE, NONE)),
    ],
)
def test_idle_zeros_cost_nothing_and_count_for_nothing_outside_the_references_places(answer, reference, truth):
    alignment = aligned(answer, reference)
    assert alignment.truth == truth
    digits = parse_numeral(answer).digits
    zeros = [s for d, s in zip(digits, alignment.surplus, strict=True) if d == "0"]
    assert not any(zeros)


@pytest.mark.parametrize(
    ("answer", "reference", "due"),
    [
        ("186", "186", (1, 8, 6)),
        ("196", "186", (1, 8, NONE)),
        ("286", "186", (1, NONE, NONE)),
        ("86", "186", (1, NONE)),
        ("18", "186", (1, 8)),
        ("1866", "186", (1, 8, 6, NONE)),
        ("1,860", "1,866", (1, 8, 6, 6)),
        ("-186", "186", (NONE, NONE, NONE)),
        ("186", "-186", (NONE, NONE, NONE)),
        ("-186", "-189", (1, 8, 9)),
        ("7.25", "72.5", (7, NONE, NONE)),
        ("72.5", "7.25", (7, NONE, NONE)),
        ("72.55", "72.5", (7, 2, 5, NONE)),
        ("072", "72", (7, NONE, NONE)),
        (".5", "0.5", (NONE,)),
        ("0.5", "0.5", (0, 5)),
    ],
)
def test_prefix_truth_ends_with_the_first_wrong_digit(answer, reference, due):
    assert aligned(answer, reference).prefix_truth == due


@given(answer=NUMBERS, reference=NUMBERS)
def test_every_place_of_the_reference_is_met_or_missing_and_right_answers_have_no_error(answer, reference):
    alignment, numeral = aligned(answer, reference), parse_numeral(answer)
    wrong = [int(d) != t for d, t in zip(numeral.digits, alignment.truth, strict=True) if t != NONE]
    is_right = numeral.canonical == parse_numeral(reference).canonical
    assert is_right == (not any(wrong) and not any(alignment.surplus) and alignment.missing_places == 0)
    pairs = zip(alignment.truth, alignment.prefix_truth, strict=True)
    assert not is_right or all(due == true for true, due in pairs if true != NONE)
    assert all(t == NONE for t, extra in zip(alignment.truth, alignment.surplus, strict=True) if extra)
    met = sum(t != NONE for t in alignment.truth)
    absent = aligned(None, reference).missing_places
    assert met + alignment.missing_places - absent in (0, 1)


@given(answer=NUMBERS, reference=NUMBERS)
def test_prefix_truths_are_a_run_from_the_left_with_at_most_its_last_digit_wrong(answer, reference):
    due, digits = aligned(answer, reference).prefix_truth, parse_numeral(answer).digits
    count = sum(d != NONE for d in due)
    assert all(d != NONE for d in due[:count])
    assert all(int(digit) == d for digit, d in zip(digits[: count - 1], due[: max(count - 1, 0)], strict=False))


def label(pieces: list[str], reference: str):
    """Labels of a response given as the texts its tokens wrote."""
    starts = np.cumsum([0, *map(len, pieces)])[:-1].astype(np.int32)
    digits = np.array([int(p) if p.strip() in set("0123456789") and p.strip() else NONE for p in pieces], np.int8)
    text = "".join(pieces)
    return label_response(text, starts, digits, reference, answer=find_answer(text))


def test_labels_stand_at_the_tokens_that_wrote_the_answers_digits():
    labels = label(["7", "+1=", "8", "\n####", " ", "", "1", ",", " 9", "3", "0"], "186")
    assert labels.digits.tolist() == [7, -1, 8, -1, -1, -1, 1, -1, 9, 3, 0]
    # The comma groups three digits only, so that the answer is 1.
    assert labels.truth.tolist() == [-1, -1, -1, -1, -1, -1, 6, -1, -1, -1, -1]
    labels = label(["7", "+1=", "8", "\n####", " ", "", "1", ",", "9", "3", "0", "."], "186")
    assert labels.truth.tolist() == [-1, -1, -1, -1, -1, -1, -1, -1, 1, 8, 6, -1]
    assert np.flatnonzero(labels.surplus).tolist() == [6]
    assert labels.prefix_truth.tolist() == [-1, -1, -1, -1, -1, -1, 1, -1, 8, -1, -1, -1]
    assert labels.missing_places == 0


def test_tokens_that_write_nothing_get_no_label():
    labels = label(["####", "", " 7", "", "2", ""], "72")
    assert labels.truth.tolist() == [-1, -1, 7, -1, 2, -1]


def test_digits_in_longer_tokens_get_no_truth_and_their_places_are_not_missing():
    labels = label(["#### ", "12", "3"], "456")
    assert labels.truth.tolist() == [-1, -1, 6]
    assert labels.missing_places == 0


def test_a_response_without_a_number_misses_every_place():
    labels = label(["no", " idea"], "-72")
    assert labels.missing_places == 2
    assert (labels.truth == NONE).all()
    assert label([], "5").missing_places == 1


def test_an_unmarked_answer_is_measured_but_not_pulled():
    assert (label(["7", "+", "1"], "72").prefix_truth == NONE).all()
    labels = label(["it is ", "7", "1"], "72")
    assert labels.truth.tolist() == [-1, 7, 2]
    assert (labels.prefix_truth == NONE).all()
    assert label(["\\boxed{", "7", "1", "}"], "72").prefix_truth.tolist() == [-1, 7, 2, -1]


@pytest.mark.parametrize(
    "tokens", [["7", "1"], ["7", "1", "\n"], ["-", "7", "1"], ["**", "7", "1", "**"], ["$", "7", "1", "."]]
)
def test_an_answer_that_is_the_whole_response_needs_no_mark(tokens):
    pulled = [truth for truth in label(tokens, "-72" if "-" in tokens else "72").prefix_truth.tolist() if truth != NONE]
    assert pulled == [7, 2]


def test_dtypes_are_small_and_fixed():
    labels = label(["#### ", "7"], "72")
    assert (labels.truth.dtype, labels.prefix_truth.dtype, labels.surplus.dtype) == (np.int32, np.int32, np.bool_)


def test_a_reference_that_is_a_text_gives_the_answers_digits_no_truth_and_no_missing_places():
    labels = label(["#### ", "7"], "seven")
    assert labels.truth.tolist() == labels.prefix_truth.tolist() == [NONE, NONE]
    assert (labels.missing_places, labels.is_answer.tolist(), labels.has_answer) == (0, [False, True], True)


@given(st.text(alphabet="0123456789#$%.,- \\boxed{}", max_size=60), NUMBERS)
def test_any_text_can_be_labelled(text, reference):
    labels = label(list(text), reference)
    assert len(labels.truth) == len(labels.surplus) == len(labels.prefix_truth) == len(text)
    assert not (labels.surplus & (labels.truth >= 0)).any()
    assert (labels.digits[labels.truth >= 0] >= 0).all()


def test_a_correct_number_is_its_own_truth_by_token():
    number = parse_numeral("-1234.5")
    alignment = align(number, number, widths=(3, 1, 1))
    assert (alignment.truth, alignment.prefix_truth) == ((123, 4, 5), (123, 4, 5))
    assert (alignment.surplus, alignment.missing_places) == ((False,) * 3, 0)
    alignment = align(parse_numeral("1" * 12), parse_numeral("1" * 12), widths=(1, 10, 1))
    assert (alignment.truth, alignment.prefix_truth) == ((1, -1, 1), (1, -1, -1))

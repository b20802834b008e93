# SPDX-License-Identifier: Apache-2.0
"""Number tokens meet what they should have been: in every mode, with every tokenizer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntl_jax.numerals import NumberTable, TokenDecoder, find_answer, label_response, sampled_numbers
from tests.small_tokenizers import KINDS, make_tokenizer

TOKENS_OF_1234 = {"built-in": 4, "digits": 4, "digits after ▁": 4, "numbers": 2, "numbers after a space": 2}
NONE = -1
STEPS = "12+7=<<12+7=18>>18 pens.\n#### 18"


def label(pieces, reference: str, mode):
    """Labels of a response given as the texts that its tokens wrote; tokens of digits alone are numbers."""
    starts = np.cumsum([0, *map(len, pieces)])[:-1].astype(np.int32)
    numbers = np.array([int(p) if p.isascii() and p.strip().isdigit() else NONE for p in pieces], np.int32)
    text = "".join(pieces)
    return label_response(text, starts, numbers, reference, answer=find_answer(text), mode=mode)


def truths(labels) -> list[int]:
    return labels.truth[labels.truth >= 0].tolist()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("final_answer", [2, 0]), ("all_tokens", [1, 9, 1, 9]), ("hybrid", [1, 9, 1, 9, 2, 0])],
)
def test_each_mode_has_its_own_truths(mode, expected):
    labels = label(STEPS, "20", mode)
    assert truths(labels) == expected
    assert labels.is_answer.sum() == 2
    assert labels.missing_places == 0


def test_missing_places_of_the_answer_are_told_from_those_of_the_steps():
    labels = label("90+100=19 #### 19", "190", "hybrid")
    assert (labels.missing_places, labels.missing_answer_places) == (2, 1)
    labels = label("90+100=19 #### 19", "190", "all_tokens")
    assert (labels.missing_places, labels.missing_answer_places) == (1, 0)


def test_where_the_answer_is_a_result_the_reference_decides_in_hybrid_mode():
    labels = label("so 2*36=71", "75", "hybrid")
    assert truths(labels) == [7, 5]
    assert truths(label("so 2*36=71", "75", "all_tokens")) == [7, 2]


def test_a_result_is_pulled_by_prefix_whether_or_not_an_answer_is_marked():
    labels = label("90+100=89", "5", "all_tokens")
    assert labels.prefix_truth[-2:].tolist() == [1, NONE]


def test_tokens_of_several_digits_are_measured_as_the_numbers_they_are():
    labels = label(["#### ", "123", "4"], "534", "final_answer")
    assert labels.truth.tolist() == [NONE, 53, 4]
    assert labels.prefix_truth.tolist() == [NONE, 534, NONE]
    labels = label(["#### ", "1", ",", "234"], "1,334", "final_answer")
    assert labels.truth.tolist() == [NONE, 1, NONE, 334]
    assert labels.prefix_truth.tolist() == [NONE, 1, NONE, 334]
    labels = label(["#### ", "12", "34"], "34", "final_answer")
    assert (labels.truth.tolist(), labels.surplus.tolist()) == ([NONE, NONE, 34], [False, True, False])


def test_prefix_truth_of_a_long_token_ends_at_the_true_numbers_end_and_at_a_point_out_of_place():
    assert label(["#### ", "123", "4"], "12", "final_answer").prefix_truth.tolist() == [NONE] * 3
    assert label(["#### ", "12", ".", "34"], "1.234", "final_answer").prefix_truth.tolist() == [NONE] * 4
    labels = label(["#### ", "1", ".", "234"], "12.34", "final_answer")
    assert labels.prefix_truth.tolist() == [NONE, 1, NONE, NONE]


def test_tokens_of_too_many_digits_have_no_truth():
    labels = label(["#### ", "1234567890"], "1234567890", "final_answer")
    assert (labels.truth == NONE).all() and (labels.prefix_truth == NONE).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["final_answer", "all_tokens", "hybrid"])
def test_every_kind_of_tokenizer_is_served_in_every_mode(kind, mode):
    tokenizer = make_tokenizer(kind)
    text = "1,200+34=<<1200+34=1235>>1235 dollars\n#### 1,235"
    ids = np.array(tokenizer(text, add_special_tokens=False)["input_ids"])
    table = NumberTable.from_tokenizer(tokenizer, "numbers")
    numbers = sampled_numbers(ids, np.asarray(table.token_values))
    decoded, starts = TokenDecoder(tokenizer)(ids)
    labels = label_response(decoded, starts, numbers, "1234", answer=find_answer(decoded), mode=mode)
    has_truth = labels.truth >= 0
    assert has_truth.sum() == {"final_answer": 1, "all_tokens": 2, "hybrid": 3}[mode] * TOKENS_OF_1234[kind]
    wrong = labels.truth[has_truth] - numbers[has_truth]
    assert set(wrong[wrong != 0].tolist()) == {-1}
    assert labels.missing_places == 0


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        (["#### ", "2", "+", "5", " = ", "7"], [5]),
        (["#### ", "7", " km in ", "3", " h"], [1]),
        ([r"\boxed{", "1", r",\!", "0", "0", "0", r" \text{ m}^", "2", "}"], [1, 3, 4, 5]),
        ([r"\boxed{x_", "1", "=", "7", "}"], [3]),
    ],
)
def test_the_digits_with_truth_are_those_of_the_answer(pieces, answer):
    labels = label(pieces, "4213", "final_answer")
    assert np.flatnonzero(labels.is_answer).tolist() == answer
    assert np.flatnonzero(labels.truth >= 0).tolist() == answer
    assert labels.missing_places == 4 - len(answer)


@pytest.mark.parametrize("mode", ["final_answer", "hybrid"])
def test_fractions_and_powers_have_no_digit_truth(mode):
    for pieces, reference in [
        (["#### ", "2", "/", "3"], "72"),
        (["#### ", "1", "0", "^", "3"], "1000"),
        (["#### ", "7"], "2/3"),
        (["so ", "2", "/", "3"], "2"),
    ]:
        labels = label(pieces, reference, mode)
        assert labels.has_answer
        assert not truths(labels)
        assert labels.missing_places == 0 and not labels.surplus.any()


def test_text_that_is_not_one_number_is_no_answer_rather_than_one_with_all_places_missing():
    labels = label(["#### ", "3", ":", "30"], "12", "final_answer")
    assert not labels.has_answer
    assert not truths(labels) and not labels.is_answer.any()
    assert labels.missing_answer_places == 2


@given(
    st.lists(st.sampled_from([*"0123456789", "12", "345", "00", "+", "-", "=", "<<", ">>", "#### ", ".", ",", "a "])),
    st.from_regex(r"-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["final_answer", "all_tokens", "hybrid"]),
)
def test_any_response_can_be_labelled(pieces, reference, mode):
    labels = label(pieces, reference, mode)
    assert not (labels.surplus & (labels.truth >= 0)).any()
    for name in ("truth", "prefix_truth"):
        assert (labels.digits[getattr(labels, name) >= 0] >= 0).all()
    assert 0 <= labels.missing_answer_places <= labels.missing_places

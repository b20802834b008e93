# SPDX-License-Identifier: Apache-2.0
"""Reference answers that are texts, such as Paris: loaded, read, labeled and judged, with a reward of one's own."""

import json

import numpy as np
import pytest

from ntl_jax.experience.digits.ntl_info import build_ntl_info
from ntl_jax.numerals import DigitLabels, find_answer, label_response
from ntl_jax.numerals.labels import Mode
from ntl_jax.rewards import RewardFunction, exact_match, is_built_in, is_correct
from ntl_jax.tasks import Files

TASK = Files((), (), numeric=False)
REWARD = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None, answer=None, correct=None, ntl_info=None):
    return {"score": float(correct), "length": len(answer.text) if answer else 0, "loss": ntl_info["ntl_loss"] < 1e9}
"""


def write(path, *answers: str) -> str:
    path.write_text("".join(json.dumps({"question": f"Q{i}?", "answer": a}) + "\n" for i, a in enumerate(answers)))
    return str(path)


def labelled(text: str, reference: str, mode: Mode = "final_answer") -> DigitLabels:
    """Labels of a response with one token a character."""
    digits = np.array([int(c) if c.isdigit() else -1 for c in text], np.int32)
    return label_response(text, np.arange(len(text)), digits, reference, answer=TASK.answer_of(text), mode=mode)


def test_texts_load_for_a_reward_of_ones_own_and_are_refused_for_the_packages(tmp_path):
    path = write(tmp_path / "rows.jsonl", "On the Seine.\n#### Paris", "#### 72", "#### 3:30", "#### x = 4", "#### B")
    problems, skipped = Files([path], (), numeric=False).load("train")
    assert ([p.ground_truth for p in problems], skipped) == (["Paris", "72", "3:30", "x = 4", "B"], 0)
    with pytest.raises(
        ValueError, match=r"4 of 5 rows(?s:.*)must be a number, is 'Paris'; texts need a reward\.function"
    ):
        Files([path], ()).load("train")
    assert [p.ground_truth for p in Files([path], (), on_bad_row="skip").load("train")[0]] == ["72"]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [("####", "no answer after ####"), ("#### Paris\nFrance", "must end in a line")],
)
def test_rows_without_an_answer_on_their_last_line_stay_malformed(tmp_path, answer, fault):
    with pytest.raises(ValueError, match=fault):
        Files([write(tmp_path / "rows.jsonl", answer)], (), numeric=False).load("train")


@pytest.mark.parametrize(
    ("reference", "right", "wrong"),
    [
        ("Paris", ["#### Paris", "####  Paris \nor Rome", r"\boxed{Paris}", r"\boxed{\text{ Paris }}"], ["#### paris"]),
        ("New York", ["#### New  York", "#### New\tYork #### Paris"], ["#### New", "#### NewYork", "New York"]),
        ("3:30", ["#### 3:30"], ["#### 3", "#### 330", "3:30"]),
        ("x = 4", ["#### x = 4"], ["#### 4", "#### x=4"]),
        ("3, 4", ["#### 3, 4"], ["#### 3", "#### 3, 5"]),
        ("B", ["#### B", "#### B\n#### A", r"\boxed{A} \boxed{B}"], ["#### A", "#### B2", "It is B", "#### A\n#### B"]),
        ("yes", ["#### yes"], ["#### no", "", "####", "#### \n"]),
        ("C#", ["#### C#"], ["#### C"]),
        # What is one number, with or without units, is compared as one.
        ("72", ["#### 72.0", "#### 72 apples", "so 72", "#### Answer: 72", "#### 70 + 2 = 72"], ["#### 71", "#### no"]),
        ("72 apples", ["#### 72 apples", "#### 72"], ["#### 71 apples", "#### apples"]),
    ],
)
def test_answers_are_compared_as_numbers_where_the_reference_is_one_and_else_as_texts(reference, right, wrong):
    for response in right + wrong:
        is_right = response in right
        assert TASK.is_correct(TASK.answer_of(response), reference) == is_right, response
        assert is_correct(response, reference) == is_right, response
        assert exact_match("mine", response, reference) == is_right, response


@pytest.mark.parametrize("reference", ["72", "72 apples", "1/2", "-5"])
@pytest.mark.parametrize(
    "response", ["#### 72", "#### Answer: 72", "#### 70 + 2 = 72", "#### 0.5", "it is -5", "#### 3:30"]
)
def test_numbers_are_judged_and_labelled_alike_whether_or_not_texts_are_allowed(reference, response):
    number, either = find_answer(response), TASK.answer_of(response)
    numbers_only = Files((), ())
    assert numbers_only.is_correct(number, reference) == TASK.is_correct(either, reference)
    digits = np.array([int(c) if c.isdigit() else -1 for c in response], np.int32)
    starts = np.arange(len(response))
    pair = [label_response(response, starts, digits, reference, answer=answer) for answer in (number, either)]
    for name in DigitLabels._fields:
        np.testing.assert_array_equal(getattr(pair[0], name), getattr(pair[1], name), err_msg=name)


@pytest.mark.parametrize("mode", ["final_answer", "all_tokens", "hybrid"])
def test_digits_of_an_answer_to_a_text_have_no_truth_but_those_of_equations_keep_theirs(mode):
    labels = labelled("1+1=3\n#### Paris 7", "Paris", mode)
    due = [] if mode == "final_answer" else [2]
    assert labels.truth[labels.truth >= 0].tolist() == labels.prefix_truth[labels.prefix_truth >= 0].tolist() == due
    assert (labels.missing_places, labels.has_answer) == (0, True)
    assert not labelled("1+1=3", "Paris", mode).is_answer[:4].any()


def test_a_response_that_gives_no_answer_or_a_text_for_a_number_has_none():
    assert not labelled("no idea", "Paris").has_answer
    assert not labelled("#### Paris", "72").has_answer
    assert labelled("#### Paris", "Paris").has_answer


def test_a_reward_of_ones_own_gets_the_answer_and_whether_it_is_right(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(REWARD)
    spec = f"{file}:compute_score"
    assert not is_built_in(spec)
    texts = ["On the Seine.\n#### Paris", "#### Rome", "no idea"]
    labels = [labelled(text, "Paris") for text in texts]
    info = build_ntl_info([np.zeros((len(text), 10), np.float32) for text in texts], labels, texts)
    answers = [TASK.answer_of(text) for text in texts]
    calls = [
        {
            "data_source": "mine",
            "solution_str": text,
            "ground_truth": "Paris",
            "extra_info": {},
            "answer": answer,
            "correct": TASK.is_correct(answer, "Paris"),
            "ntl_info": info[i : i + 1],
        }
        for i, (text, answer) in enumerate(zip(texts, answers, strict=True))
    ]
    outcomes = RewardFunction(spec)(calls)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    assert [float(outcome.score) for outcome in outcomes] == [1.0, 0.0, 0.0]
    assert [outcome.metrics["length"] for outcome in outcomes] == [5, 4, 0]
    assert [outcome.metrics["loss"] for outcome in outcomes] == [0, 0, 0]  # infinite: no digit has a truth

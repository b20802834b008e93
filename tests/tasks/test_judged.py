# SPDX-License-Identifier: Apache-2.0
"""The settings say how answers are found and compared, whatever the task."""

import time

import pytest

from ntl_jax.config import AnswerSection
from ntl_jax.tasks import Calculations, ReasoningGym, Undecided
from ntl_jax.tasks.judged import JudgedTask

SUMS = Calculations(num_train=1, num_held_out=1, seed=0)
STEPS = "1 + 1 = 2\n#### 3\nso \\boxed{4} or 5"


def judged(numeric: bool = True, **settings) -> JudgedTask:
    return JudgedTask(SUMS, AnswerSection(**settings), numeric=numeric)


def found(text: str, numeric: bool = True, **settings) -> str | None:
    answer = judged(numeric, **settings).answer_of(text)
    return None if answer is None else answer.text


@pytest.mark.parametrize(("form", "answer"), [("auto", "3"), ("line", "3"), ("box", "4"), ("last_number", "5")])
def test_the_form_says_which_of_several_answers_counts(form, answer):
    assert found(STEPS, form=form) == answer


@pytest.mark.parametrize("form", ["line", "box"])
def test_an_answer_in_another_form_is_none(form):
    assert found("It is 5", form=form) is None and found("It is 5") == found("It is 5", form="last_number") == "5"


@pytest.mark.parametrize(
    ("pattern", "text", "answer"),
    [
        ("answer is (.*)", "The answer is 4.\nThe answer is $1,272.00, since 2+3=5.", "1272"),
        ("(?i)Answer: (-?[0-9]+)", "ANSWER: -7, not 8", "-7"),
        (r"<answer>([^<]*)</answer>", "<answer> 1/2 </answer>", "0.5"),
        (r"<answer>([^<]*)</answer>", "<answer>x = 12 apples</answer>", "12"),
        ("answer is (.*)", "It is 4.", None),
        ("answer is (.*)", "The answer is unknown, maybe.", None),
        ("a(b)?c", "abc ac", None),
        ("so ((?:[0-9] )+)is", "so 1 is, so 2 is", "2"),
    ],
)
def test_a_pattern_finds_the_last_match_and_reads_the_number_in_its_group(pattern, text, answer):
    assert found(text, pattern=pattern) == answer


def test_a_pattern_may_find_texts_where_answers_are_texts():
    assert found("The answer is  Paris .", False, pattern=r"answer is (.*)\.") == "Paris"
    task = judged(False, pattern=r"answer is (.*)\.")
    assert task.is_correct(task.answer_of("The answer is Paris."), "Paris")


def test_a_pattern_that_takes_too_long_decides_nothing_and_ends():
    task, began = judged(pattern="(?:a|aa)+([^a])"), time.monotonic()
    with pytest.raises(Undecided, match=r"answer\.pattern='\(\?:a\|aa\).*' takes longer than 1 s"):
        task.answer_of("a" * 200)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("answer", "reference", "tolerance", "right"),
    [
        ("99", "100", 0.01, True),
        ("103", "100", 0.03, True),
        ("97", "100", 0.03, True),
        ("103.01", "100", 0.03, False),
        ("98.9", "100", 0.01, False),
        ("-101", "-100", 0.01, True),
        ("101", "-100", 0.5, False),
        ("0.33", "1/3", 0.02, True),
        ("0", "0", 0.1, True),
        ("0.001", "0", 0.1, False),
        ("99", "100", 0.0, False),
    ],
)
def test_the_tolerance_is_relative_to_the_reference(answer, reference, tolerance, right):
    task = judged(tolerance=tolerance)
    assert task.is_correct(task.answer_of(answer), reference) == right
    assert not task.is_correct(None, reference)


def test_a_percent_sign_is_a_unit():
    task = judged(form="last_number")
    for text, reference in [("50%", "50"), ("50", "50%"), ("50%", "50%")]:
        assert task.is_correct(task.answer_of(text), reference)
    for text, reference in [("50%", "0.5"), ("0.5", "50%")]:
        assert not task.is_correct(task.answer_of(text), reference)


@pytest.mark.parametrize("settings", [{"form": "box"}, {"form": "last_number"}, {"pattern": r"boxed\{(.*)\}"}])
def test_where_equal_numbers_are_different_answers_they_are_as_they_are_written(settings):
    options = {"num_train": 20, "num_held_out": 1, "seed": 0, "options": {"styles": "('plain',)"}}
    task = JudgedTask(ReasoningGym("fraction_simplification", **options), AnswerSection(**settings), numeric=True)
    problem = next(problem for problem in task.load("train")[0] if "/" in problem.ground_truth)
    above, below = map(int, problem.ground_truth.split("/"))
    for factor in (1, 3):
        answer = task.answer_of(f"\\boxed{{{factor * above}/{factor * below}}}")
        assert task.is_correct(answer, problem.ground_truth) == (factor == 1)


def test_closing_it_closes_the_other_task():
    class Closed(Calculations):
        closed = False

        def close(self) -> None:
            self.closed = True

    inner = Closed(num_train=1, num_held_out=1, seed=0)
    JudgedTask(inner, AnswerSection(form="box"), numeric=True).close()
    assert inner.closed


def test_all_else_is_the_tasks():
    task = judged(tolerance=0.1)
    (problem,), _ = task.load("train")
    assert task.render(problem) == problem.question and task.markers == SUMS.markers
    assert task.default_reward(ntl=True) == SUMS.default_reward(ntl=True)
    assert task.is_correct(task.answer_of(problem.solution), problem.ground_truth)

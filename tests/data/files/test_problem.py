# SPDX-License-Identifier: Apache-2.0
"""A row's answer is the truth, or a solution that marks it; numbers in any type, and whatever else is said so."""

import decimal

import pytest

from ntl_jax.config import FieldsSection
from ntl_jax.data.files.problem import Fault, read_problem
from ntl_jax.data.files.row import Row


def read(numeric=True, fields=None, **row: object):
    found = Row(3, "", {"question": "Q?", **row})
    return read_problem(found, fields or FieldsSection(), data_source="file", numeric=numeric)


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("72", "72"), (72, "72"), (72.0, "72"), (-0.5, "-0.5"), (1e-7, "0.0000001"), (1e22, "1" + "0" * 22),
        (decimal.Decimal("1.50"), "1.5"), (" 1,200 ", "1,200"), ("3/4", "3/4"), ("$5", "$5"), ("25%", "25%"),
        (".5", ".5"), ("1e-05", "1e-05"), ("3.", "3."), ("$-5", "$-5"), ("€5", "€5"), ("1 000", "1 000"),
        ("5 apples", "5 apples"), ("#### 2 1/2", "2 1/2"), (r"\boxed{x = 5}", "5"), (r"5 \text{ cm}", "5"),
        ("so 70+2=72\n#### 72", "72"), (r"so \boxed{72}, or \boxed{1{,}200}.", "1200"), (r"\boxed{\frac{1}{2}}", "0.5"),
        (r"\frac{3}{4}", "0.75"), (r"$\frac{3}{4}$", "0.75"), ("#### Step 1\nso \\boxed{7}", "7"),
    ],
    ids=repr,
)  # fmt: skip
def test_a_number_is_read_in_every_form(answer, truth):
    problem = read(answer=answer)
    assert problem.ground_truth == truth
    assert problem.solution == (answer.rstrip() if isinstance(answer, str) else truth)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (float("nan"), "must be a finite number"), (float("inf"), "must be a finite number"), (True, "is a boolean"),
        ([5], "is a list"), ({"value": 5, "x": 6}, "is an object with `answer.value`, `answer.x`"),
        (None, "is null"), ("", "is empty"), ("five", "'five'"),
        ("3 or 4", "'3 or 4'"), ("9" * 301, "301 characters"),
        (10**400, "401 characters"), (r"\boxed{x+1}", "answer must be a number, is 'x+1'"),
        (r"(3, \pi)", "or a solution that marks one"), ("1_000", "must be a number"),
        ("1e400", "must be a number"), ("9 " * 301, "must be a number"), ("3/0", "must be a number"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_a_fault(answer, fault):
    with pytest.raises(Fault) as error:
        read(answer=answer)
    assert fault in str(error.value)


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("Paris", "Paris"),
        ("On the Seine.\n#### Paris", "Paris"),
        (r"so \boxed{\text{(B)}}", "(B)"),
        (7, "7"),
        ("a\nb", "a\nb"),
    ],
)
def test_texts_are_answers_for_a_reward_of_ones_own(answer, truth):
    assert read(numeric=False, answer=answer).ground_truth == truth


def test_the_solution_is_the_answer_that_marks_it_else_its_field_else_the_answer():
    assert read(answer="2+3=5\n#### 5", solution="other").solution == "2+3=5\n#### 5"
    assert read(answer="5", solution="2+3=5").solution == "2+3=5"
    assert read(answer="5", extra_info={"answer": "2+3=5"}).solution == "2+3=5"
    assert read(answer="5", solution=None).solution == read(answer="5").solution == "5"
    chosen = read(answer="2+3=5\n#### 5", steps="3+2=5", fields=FieldsSection(solution="steps"))
    assert chosen.solution == "3+2=5"
    with pytest.raises(Fault, match="no `steps`, only `question`, `answer`"):
        read(answer="5", fields=FieldsSection(solution="steps"))


def test_null_is_absent_unless_a_setting_names_the_field():
    row = {"question": None, "prompt": "Which?", "answer": None, "solution": "2+3=5\n#### 5"}
    assert (read(**row).question, read(**row).ground_truth) == ("Which?", "5")
    for name in ("question", "answer", "solution", "source"):
        with pytest.raises(Fault, match=r"^`sol` (is null|must be .*, is null)$"):
            read(answer="5", sol=None, fields=FieldsSection(**{name: "sol"}))


def test_the_source_is_the_rows_or_the_files():
    assert read(answer="5").data_source == read(answer="5", data_source=None).data_source == "file"
    assert read(answer="5", data_source="mine").data_source == "mine"
    assert read(answer="5", set="b", fields=FieldsSection(source="set")).data_source == "b"
    with pytest.raises(Fault, match="no `set`"):
        read(answer="5", fields=FieldsSection(source="set"))


def test_turns_of_a_chat_are_kept_and_one_of_a_user_alone_is_its_text():
    user, system = {"role": "user", "content": "2+3?"}, {"role": "system", "content": "Be brief."}
    parts = [{"type": "text", "text": "2+"}, {"type": "text", "text": "3?"}]
    assert read(question=[user], answer=5).question == "2+3?"
    assert read(question=[user | {"content": parts, "name": "x"}], answer=5).question == "2+3?"
    assert read(question=[system, user], answer=5).question == (system, user)
    with pytest.raises(Fault, match="must end with a message of the user, and ends with one of the system"):
        read(question=[user, system], answer=5)


def test_further_data_travel_with_the_problem():
    assert read(answer="5", extra_info={"index": 3}).extra_info == {"index": 3}
    assert read(answer="5", extra_info=None).extra_info == {}
    with pytest.raises(Fault, match="`extra_info` must be an object, is a number"):
        read(answer="5", extra_info=3)

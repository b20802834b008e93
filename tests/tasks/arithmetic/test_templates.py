# SPDX-License-Identifier: Apache-2.0
"""A template's arithmetic is exact, stays in range, and is written out in GSM8K's format."""

import pytest

from ntl_jax.tasks.arithmetic.templates import Template

SHARES = Template(2, "{name} and {other}: {a}, {b} {items}?", "Twice is [c=a*2].\nEach has [d=c/b].", small="b")
DEBTS = Template(1, "{a} less {b}?", "That is [c=a-b].", signed=True)


def test_steps_and_numbers_are_read_off_the_texts():
    assert SHARES.numbers == ("a", "b")
    assert SHARES.steps == (("c", "a", "*", "2"), ("d", "c", "/", "b"))


def test_a_solution_is_written_with_annotations_and_the_answer_on_its_last_line():
    values = SHARES.solve({"a": 12, "b": 6}, limit=99)
    assert values is not None
    question, solution, answer = SHARES.write({"name": "Tom", "other": "Mia", "items": "pens"}, values)
    assert question == "Tom and Mia: 12, 6 pens?"
    assert solution == "Twice is 12*2=<<12*2=24>>24.\nEach has 24/6=<<24/6=4>>4.\n#### 4"
    assert answer == "4"


@pytest.mark.parametrize(
    ("numbers", "limit"),
    [({"a": 10, "b": 3}, 99), ({"a": 50, "b": 4}, 99), ({"a": 2, "b": 4}, 99)],
    ids=["division leaves a rest", "a result is past the limit", "a result is below two"],
)
def test_numbers_without_a_sound_solution_are_refused(numbers, limit):
    assert SHARES.solve(numbers, limit=limit) is None


def test_only_signed_templates_go_below_zero():
    values = DEBTS.solve({"a": 5, "b": 12}, limit=99)
    assert values is not None
    assert DEBTS.write({}, values)[1] == "That is 5-12=<<5-12=-7>>-7.\n#### -7"

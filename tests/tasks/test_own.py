# SPDX-License-Identifier: Apache-2.0
"""A task of one's own is a class in a file; it is tried out first, and what is wrong with it is named."""

import textwrap

import pytest

from ntl_jax.tasks import Undecided
from ntl_jax.tasks.own import OwnTask

GOOD = """
from ntl_jax.data import Problem
from ntl_jax.tasks import Task


class Doubles(Task):
    def __init__(self, times="2"):
        self.times = int(times)

    def load(self, split):
        start = 0 if split == "train" else 10
        rows = range(start, start + 5)
        return [self.problem(i, str(self.times * i)) for i in rows], 0

    def problem(self, i, result):
        return Problem(i, f"{self.times} times {i}?", result, result, "mine")
"""


def own(folder, code: str = GOOD, name: str = "Doubles", **options: str) -> OwnTask:
    (folder / "mine.py").write_text(textwrap.dedent(code))
    return OwnTask(f"{folder / 'mine.py'}:{name}", options)


def test_a_class_that_only_loads_problems_is_a_whole_task(tmp_path):
    task = own(tmp_path, times="3")
    assert [problem.text for problem in task.load("train")[0]] == [f"3 times {i}?" for i in range(5)]
    assert task.load("held_out") is task.load("held_out")
    assert task.is_correct(task.answer_of("It is 6."), "6") and task.default_reward(ntl=False).endswith(":exact_match")


FAILING = """
    def answer_of(self, text):
        return super().answer_of(text) if text != "one" else 1 / 0

    def is_correct(self, answer, reference):
        return answer.text == reference
"""


def test_an_answer_on_which_its_code_fails_is_undecided_and_named_with_the_line(tmp_path):
    task = own(tmp_path, GOOD + FAILING)
    with pytest.raises(
        Undecided, match=r"^data\.task='.*': answer_of fails at line 19 of .*mine\.py: ZeroDivisionError"
    ):
        task.answer_of("one")
    with pytest.raises(Undecided, match=r"^data\.task='.*': is_correct fails at line 22 of .*mine\.py: AttributeError"):
        task.is_correct(task.answer_of("none"), "2")
    assert task.is_correct(task.answer_of("2"), "2") is True


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("code", "name", "options", "says"),
    [
        ("def f(:", "Doubles", {}, r"importing it fails at line 1 of .*mine\.py: SyntaxError"),
        ("import nosuch", "Doubles", {}, r"importing it fails at line 1 of .*mine\.py: ModuleNotFoundError"),
        ("raise SystemExit(3)", "Doubles", {}, r"importing it fails at line 1 of .*: SystemExit: 3"),
        (GOOD, "Double", {}, r"has no 'Double'; did you mean 'Doubles'\?"),
        (GOOD, "Problem", {}, r"Problem must be a class derived from ntl_jax\.tasks\.Task"),
        (changed("def load", "def loads"), "Doubles", {}, r"Doubles\(\) fails.*: TypeError: .*abstract method"),
        (GOOD, "Doubles", {"time": "3"}, r"Doubles\(time='3'\) fails.*; it takes \(times='2'\); data\.task_options"),
        (GOOD, "Doubles", {"times": "x"}, r"Doubles\(times='x'\) fails at line 8 of .*mine\.py: ValueError"),
        (changed("rows = range", "rows = rang"), "Doubles", {}, r"load\('train'\) fails at line 12 of .*: NameError"),
        (changed("start + 5)", "start)"), "Doubles", {}, r"load\('train'\) returns no problems"),
        (changed("rows], 0", "rows]"), "Doubles", {}, r"load\('train'\) must return a list of Problem and how many"),
        (changed("Problem(i,", "Problem(0,"), "Doubles", {}, "problems must have different indices"),
        (changed("result, result", "result, int(result)"), "Doubles", {},
         r"of problem 0, ground_truth must be a text, is 0"),
        (changed("result, result", "'7', result"), "Doubles", {},
         r"by its own answer_of and is_correct, the solution '7' of problem 0 is not '0'"),
        (GOOD + "\n    def is_correct(self, answer, reference):\n        return answer.value == reference.value\n",
         "Doubles", {}, r"a trial with its first problem fails at line 19 of .*: AttributeError"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_it_is_said_with_the_line(tmp_path, code, name, options, says):
    with pytest.raises(ValueError, match=rf"^data\.task='.*mine\.py:{name}'.*{says}"):
        own(tmp_path, code, name, **options)


def test_a_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"^data\.task='.*mine\.py:Mine': there is no file '.*mine\.py'"):
        OwnTask(f"{tmp_path / 'mine.py'}:Mine", {})

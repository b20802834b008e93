# SPDX-License-Identifier: Apache-2.0
"""What every task promises, and that the marker of answers is known to tasks and the reader's default alone."""

import ast
import pathlib

import pytest

from ntl_jax.data import Problem
from ntl_jax.numerals import DEFAULT_MARKERS
from ntl_jax.rewards import load_reward
from ntl_jax.tasks import Arithmetic, Files, Task, TwoSources

PACKAGE = pathlib.Path(__file__).parents[2] / "ntl_jax"
GENERATED, TEXTS = Arithmetic(num_train=4, num_held_out=3, seed=0), Files((), (), numeric=False)
TASKS = {
    "arithmetic": GENERATED,
    "numbers": Files((), ()),
    "texts": TEXTS,
    "two sources": TwoSources(train=GENERATED, held_out=TEXTS, judge=TEXTS),
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_shows_a_question_and_judges_an_answer(task: Task):
    assert task.render(Problem(0, "2+3?", "#### 5", "5", "mine")) == "2+3?"
    assert task.markers == DEFAULT_MARKERS
    answer = task.answer_of("It is 5.\n#### 5.0")
    assert answer is not None and (answer.text, answer.value, answer.marked) == ("5", 5, True)
    assert task.is_correct(answer, "5") and not task.is_correct(answer, "6") and not task.is_correct(None, "5")
    assert task.answer_of("no idea") is None


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("ntl", [False, True])
def test_the_default_reward_is_one_that_takes_what_there_is(task: Task, ntl):
    extras = ("answer", "correct", *(("ntl_info", "tau") if ntl else ()))
    function, takes = load_reward(task.default_reward(ntl=ntl), offered=extras)
    assert takes == set(extras)
    assert function.__name__ == ("ntl_reward" if ntl else "exact_match")


def test_a_split_without_a_file_is_refused_with_the_setting_that_names_it():
    with pytest.raises(ValueError, match=r"no source of the train split is given: set data\.train"):
        Files((), ()).load("train")


def test_only_tasks_and_the_readers_default_know_the_marker():
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        strings = {id(n): n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr):
                strings.pop(id(node.value), None)  # docstrings, with their examples
        if any("####" in str(node.value) for node in strings.values()):
            found.append(path.relative_to(PACKAGE).as_posix())
    assert [name for name in found if not name.startswith("tasks/")] == ["numerals/answers/answer.py"]

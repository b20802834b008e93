# SPDX-License-Identifier: Apache-2.0
"""What every task promises, and that the marker of answers is known to tasks and the reader's default alone."""

import ast
import pathlib

import pytest

from ntl_jax.config import DataSection
from ntl_jax.data import Problem
from ntl_jax.numerals import DEFAULT_MARKERS, AnswerMarkers, agrees, find_answer
from ntl_jax.rewards import load_reward
from ntl_jax.tasks import Arithmetic, Gsm8k, Task, TwoSources, choose_task

PACKAGE = pathlib.Path(__file__).parents[2] / "ntl_jax"
TASKS = {
    "arithmetic": Arithmetic(num_train=4, num_held_out=3, seed=0),
    "numbers": Gsm8k(None, None),
    "texts": Gsm8k(None, None, numeric=False),
    "two sources": choose_task(DataSection(eval="test.jsonl"), seed=0, num_eval=None, numeric=False),
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_shows_a_question_and_judges_an_answer(task: Task):
    assert task.render(Problem(0, "2+3?", "#### 5", "5", "mine")) == "2+3?\n"
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


def test_the_data_section_chooses_generator_files_or_both(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "2+3?", "answer": "#### 5"}\n' * 2)
    path, settings = str(file), {"seed": 0, "num_eval": 3, "numeric": True}
    kinds = {
        Arithmetic: DataSection(num_train=4),
        Gsm8k: DataSection(train=path, eval=path),
        TwoSources: DataSection(num_train=4, eval=path),
    }
    counts = {}
    for kind, data in kinds.items():
        task = choose_task(data, **settings)
        assert type(task) is kind
        counts[kind] = [(len(problems), skipped) for problems, skipped in map(task.load, ("train", "held_out"))]
    assert counts == {Arithmetic: [(4, 0), (3, 0)], Gsm8k: [(2, 0), (2, 0)], TwoSources: [(4, 0), (2, 0)]}


def test_a_split_without_a_file_is_refused_with_the_setting_that_names_it():
    with pytest.raises(ValueError, match=r"no file of the train split is given: set data\.train"):
        Gsm8k(None, "test.jsonl").load("train")


def test_a_task_of_your_own_may_mark_its_answers_otherwise():
    markers = AnswerMarkers(line="Answer:", box=None)
    text = "#### 1 \\boxed{2}\nAnswer: 72 apples\nAnswer: 3"
    answer = find_answer(text, markers)
    assert answer is not None and (answer.text, answer.marked) == ("72", True)
    assert text[answer.start : answer.end] == "72"
    assert agrees(answer, "so 72.\nAnswer: 72", markers)
    unmarked = find_answer("#### 1 \\boxed{2} 3", AnswerMarkers(line=None, box=None))
    assert unmarked is not None and (unmarked.text, unmarked.marked) == ("3", False)


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

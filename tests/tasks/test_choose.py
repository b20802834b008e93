# SPDX-License-Identifier: Apache-2.0
"""The data section chooses the task."""

import pytest

from ntl_jax.config import AnswerSection, DataSection
from ntl_jax.tasks import (
    Arithmetic,
    Calculations,
    Files,
    JudgedTask,
    ReasoningGym,
    TwoSources,
    check_apart,
    choose_task,
    source_name,
    without_problems,
)
from ntl_jax.tasks.own import OwnTask
from tests.tasks.test_own import GOOD


def test_the_data_section_chooses_generator_files_or_both(tmp_path):
    files = [tmp_path / "train.jsonl", tmp_path / "eval.jsonl"]
    for file in files:
        file.write_text('{"question": "2+3?", "answer": "#### 5"}\n' * 2)
    (train, held_out), settings = map(str, files), {"seed": 0, "num_eval": 3, "numeric": True}
    kinds = {
        Arithmetic: DataSection(num_train=4),
        Files: DataSection(train=(train,), eval=(held_out,)),
        TwoSources: DataSection(num_train=4, eval=(held_out,)),
    }
    counts = {}
    for kind, data in kinds.items():
        task = choose_task(data, **settings)
        assert type(task) is kind
        counts[kind] = [(len(problems), skipped) for problems, skipped in map(task.load, ("train", "held_out"))]
    assert counts == {Arithmetic: [(4, 0), (3, 0)], Files: [(2, 0), (2, 0)], TwoSources: [(4, 0), (2, 0)]}


def test_the_name_of_a_task_chooses_it_and_the_section_answer_what_judges_it(tmp_path):
    (tmp_path / "mine.py").write_text(GOOD)
    named = {
        Calculations: DataSection(task="calculations", num_train=4, operations=("*",)),
        ReasoningGym: DataSection(task="reasoning_gym:gcd", num_train=4, task_options=("max_numbers=2",)),
        OwnTask: DataSection(task=f"{tmp_path / 'mine.py'}:Doubles", task_options=("times=3",)),
    }
    for kind, data in named.items():
        task = choose_task(data, seed=0, num_eval=3, numeric=True)
        assert type(task) is kind
        judged = choose_task(data, AnswerSection(form="last_number"), seed=0, num_eval=3, numeric=True)
        assert type(judged) is JudgedTask and judged.load("train") == task.load("train")
        assert not {p.text for p in task.load("train")[0]} & {p.text for p in task.load("held_out")[0]}


JUDGING = """
from ntl_jax.numerals import answer_at
from ntl_jax.data import Problem
from ntl_jax.tasks import Task


class Bits(Task):
    def load(self, split):
        assert split == "train"
        return [Problem(i, bin(i), f"= {i}", str(i), "bits") for i in range(5)], 0

    def render(self, problem):
        return f"Read {problem.question}."

    def answer_of(self, text):
        return answer_at(text, text.rindex("=") + 1, len(text)) if "=" in text else None

    def is_correct(self, answer, reference):
        return answer is not None and answer.value == int(reference) % 8
"""


@pytest.mark.parametrize("answer", [AnswerSection(), AnswerSection(tolerance=0.01)])
def test_a_task_of_ones_own_asks_and_judges_the_problems_of_a_file_too(tmp_path, answer):
    (tmp_path / "mine.py").write_text(JUDGING)
    (tmp_path / "eval.jsonl").write_text('{"question": "0b1100", "answer": "12"}\n')
    data = DataSection(task=f"{tmp_path / 'mine.py'}:Bits", eval=(str(tmp_path / "eval.jsonl"),))
    task = choose_task(data, answer, seed=0, num_eval=None, numeric=True)
    assert (len(task.load("train")[0]), len(task.load("held_out")[0])) == (5, 1)
    assert [task.render(problem) for problem in task.load("held_out")[0]] == ["Read 0b1100."]
    alone = without_problems(data, answer, numeric=True)
    for judge in (task, alone):
        assert judge.answer_of("It is 4") is None and judge.is_correct(judge.answer_of("= 4"), "12")


def test_the_scorer_of_a_generator_judges_its_problems_where_held_out_ones_are_in_a_file(tmp_path):
    (tmp_path / "eval.jsonl").write_text('{"question": "half of 14?", "answer": 7}\n')
    data = DataSection(task="reasoning_gym:fraction_simplification", num_train=20, eval=(str(tmp_path / "eval.jsonl"),))
    task = choose_task(data, seed=0, num_eval=None, numeric=True)
    above, below = next(p.ground_truth.split("/") for p in task.load("train")[0] if p.ground_truth[0].isdigit())
    assert task.is_correct(task.answer_of(f"{above}/{below}"), f"{above}/{below}")
    assert not task.is_correct(task.answer_of(f"{int(above) * 3}/{int(below) * 3}"), f"{above}/{below}")
    assert task.is_correct(task.answer_of("14/2"), "7")


def test_one_file_for_training_and_evaluation_is_refused_by_whatever_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "b.jsonl").touch()
    (tmp_path / "link.jsonl").symlink_to("a.jsonl")
    train = str(tmp_path / "a.jsonl")
    for same in (train, "~/a.jsonl", str(tmp_path / "link.jsonl")):
        with pytest.raises(ValueError, match=rf"data.eval='{same}' is a source of data.train too"):
            check_apart(DataSection(train=(train,), eval=(same,)))
    check_apart(DataSection(train=(train,), eval=("~/b.jsonl", "~/none.jsonl")))


def test_questions_of_ones_own_have_the_source_of_the_first_held_out_problem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "of_gsm8k.jsonl").write_text('{"question": "2+3?", "answer": "It is 5.\\n#### 5"}\n')
    (tmp_path / "named.jsonl").write_text('{"a": 1}\n{"question": "2+3?", "answer": "5", "data_source": "mine"}\n')
    (tmp_path / "mine.py").write_text(GOOD)
    for data, name in [
        (DataSection(), "generated"),
        (DataSection(task="calculations"), "calculations"),
        (DataSection(task="reasoning_gym:gcd"), "gcd"),
        (DataSection(task=f"{tmp_path / 'mine.py'}:Doubles"), "mine"),
        (DataSection(train=("gone.jsonl",), eval=("of_gsm8k.jsonl",)), "gsm8k"),
        (DataSection(eval=("named.jsonl", "of_gsm8k.jsonl")), "mine"),
        (DataSection(eval=("gone/test.jsonl",)), "test"),
        (DataSection(eval=("nobody/none:main:test",)), "none"),
    ]:
        assert source_name(data, without_problems(data, numeric=True)) == name

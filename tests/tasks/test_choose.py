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

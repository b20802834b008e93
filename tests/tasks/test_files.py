# SPDX-License-Identifier: Apache-2.0
"""Files are a task: read at once, asked as their rows say, judged as numbers or texts."""

import json

import pytest

from ntl_jax.config import FieldsSection
from ntl_jax.tasks import Files


def write(path, *rows) -> tuple[str]:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return (str(path),)


def test_each_split_is_read_with_the_fields_of_the_settings(tmp_path):
    train = write(tmp_path / "train.jsonl", {"problem": "2+3?", "result": 5})
    held_out = write(tmp_path / "eval.jsonl", {"problem": "3+4?", "result": "7"}, {"problem": "?"})
    task = Files(train, held_out, fields=FieldsSection(question="problem", answer="result"), on_bad_row="skip")
    ((problem,), skipped), ((other,), more) = task.load("train"), task.load("held_out")
    assert (problem.text, problem.ground_truth, skipped) == ("2+3?", "5", 0)
    assert (other.text, other.ground_truth, more) == ("3+4?", "7", 1)


def test_a_wrong_file_is_found_before_anything_is_loaded(tmp_path):
    good = write(tmp_path / "train.jsonl", {"question": "2+3?", "answer": 5})
    with pytest.raises(ValueError, match=r"^data\.eval='.*none\.jsonl' does not exist"):
        Files(good, (str(tmp_path / "none.jsonl"),))


def test_turns_of_a_chat_stay_turns(tmp_path):
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+3?"}]
    task = Files(write(tmp_path / "train.jsonl", {"prompt": turns, "answer": 5}), ())
    ((problem,), _) = task.load("train")
    assert list(task.render(problem)) == turns and problem.text == "Be brief.\n2+3?"

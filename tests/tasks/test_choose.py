# SPDX-License-Identifier: Apache-2.0
"""The data section chooses the task."""

import pytest

from ntl_jax.config import DataSection
from ntl_jax.tasks import Arithmetic, Files, TwoSources, check_apart, choose_task


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

# SPDX-License-Identifier: Apache-2.0
"""Data sets of Hugging Face: saved ones are read with the split that is meant; what is wrong is named."""

import sys

import datasets
import pytest

from ntl_jax.data.files.formats.hub import data_set_rows
from ntl_jax.data.files.source import Source, find_source

TRAIN, TEST = [{"question": f"{i}?", "answer": str(i)} for i in range(3)], [{"question": "7?", "answer": "7"}]


@pytest.fixture
def saved(tmp_path):
    """Folders of data sets: without splits, with two, and with one."""
    whole = datasets.Dataset.from_list(TRAIN)
    whole.save_to_disk(tmp_path / "whole")
    splits = datasets.DatasetDict()
    splits["train"] = whole
    splits.save_to_disk(tmp_path / "one")
    splits["test"] = datasets.Dataset.from_list(TEST)
    splits.save_to_disk(tmp_path / "pair")
    return tmp_path


def test_the_split_is_the_one_that_is_named_or_meant(saved):
    def find(text, purpose):
        return [row.value for row in data_set_rows(find_source(f"{saved}/{text}"), purpose)]

    assert find("whole", "train") == find("whole", "held_out") == find("pair", "train") == find("one", "train") == TRAIN
    assert find("pair", "held_out") == find("pair:test", "train") == TEST
    assert find("one:train", "held_out") == TRAIN


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("one", "has no split test or validation, only train: name one, as in {}/one:train"),
        ("pair:tset", "has no split tset, only train, test: name one, as in {}/pair:train"),
        ("whole:test", "has no splits: leave out :test"),
    ],
)
def test_a_split_that_is_not_there_is_answered_with_those_that_are(saved, text, answer):
    with pytest.raises(ValueError) as error:
        list(data_set_rows(find_source(f"{saved}/{text}"), "held_out"))
    assert str(error.value) == answer.format(saved)


def test_a_damaged_data_set_and_one_that_cannot_be_fetched_are_named(saved):
    for file in (saved / "whole").glob("*.arrow"):
        file.write_bytes(file.read_bytes()[:50])
    for text in (f"{saved}/whole", "nobody/nothing"):
        with pytest.raises(ValueError, match=r"^cannot be loaded: "):
            list(data_set_rows(find_source(text), "train"))


def test_rows_that_the_package_cannot_read_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "broken").mkdir(parents=True)
    (tmp_path / "mine" / "broken" / "train.jsonl").write_text('{"question": "1?", "answer": "1"}\n{"question": \n')
    with pytest.raises(ValueError, match=r"^cannot be loaded: DatasetGenerationError: .*; OWNER/NAME"):
        list(data_set_rows(Source("mine/broken", None, "broken"), "train"))


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"^is a data set of the Hugging Face hub, which needs .*ntl_jax\[data\]"):
        list(data_set_rows(find_source("openai/gsm8k"), "train"))

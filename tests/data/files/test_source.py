# SPDX-License-Identifier: Apache-2.0
"""A source is a file, a saved data set or one of the hub; anything else is named."""

import json

import pytest

from ntl_jax.data.files.source import are_same_rows, find_source


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("train.jsonl", "train", ".jsonl"),
        ("train.v2.csv.gz", "train.v2", ".csv"),
        ("Train.PARQUET", "Train.PARQUET", ".parquet"),
        ("a:b", "a:b", ""),
        (".gz", ".gz", ""),
    ],
)
def test_a_file_has_the_name_without_its_endings(tmp_path, name, stem, suffix):
    (tmp_path / name).touch()
    source = find_source(str(tmp_path / name))
    assert (source.is_file, source.name, source.suffix, source.split) == (True, stem, suffix, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("openai/gsm8k", ("gsm8k", None, None)),
        ("openai/gsm8k:test", ("gsm8k", None, "test")),
        ("openai/gsm8k:main:test", ("gsm8k", "main", "test")),
    ],
)
def test_a_data_set_of_the_hub_has_an_owner_and_may_have_configuration_and_split(text, expected):
    source = find_source(text)
    assert (source.name, source.configuration, source.split) == expected
    assert source.path is None and not source.is_file


def test_a_saved_data_set_may_have_a_split(tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "dataset_dict.json").touch()
    assert find_source(str(folder))[1:] == (folder, "saved", None, None)
    source = find_source(f"{folder}:test")
    assert source[1:] == (folder, "saved", None, "test") and source.has_splits and not source.is_file


@pytest.mark.parametrize(
    ("held_out", "train", "same"),
    [
        ("{}/saved:train", "{}/saved", True), ("{}/saved", "{}/saved", False), ("{}/saved", "{}/saved:test", True),
        ("{}/saved:test", "{}/saved:train", False), ("{}/saved:x", "{}/saved:y", False), ("{}/one", "{}/one", False),
        ("{}/one:all", "{}/one", True), ("{}/whole", "{}/whole", True), ("{}/a.jsonl", "{}/a.jsonl", True),
        ("{}/a.jsonl", "{}/whole", False), ("{}/a.jsonl", "o/n", False), ("o/n:train", "o/n", True),
        ("o/n", "o/n", False), ("o/n", "o/n:test", True), ("o/n:main:train", "o/n", True), ("o/n:a:x", "o/n:a:x", True),
        ("o/n:a:train", "o/n:b:train", False), ("o/m:train", "o/n", False), ("o/n:validation", "o/n", False),
    ],
)  # fmt: skip
def test_sources_of_the_same_rows_are_told_by_the_splits_that_are_meant(tmp_path, held_out, train, same):
    for name, splits in {"saved": ["train", "test"], "one": ["all"]}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "state.json").touch()
    (tmp_path / "a.jsonl").touch()
    assert are_same_rows(*(find_source(text.format(tmp_path)) for text in (held_out, train))) is same


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("{}/trian.jsonl", "does not exist; did you mean {}/train.jsonl?"),
        ("{}/none", "does not exist: give a file of problems"),
        ("{}", "is a folder, with eval.json, train.jsonl: name its files, or a folder that `save_to_disk`"),
        ("{}:test", "is a folder, with eval.json"),
        ("{}/none:test", "does not exist"),
        ("{}/none:", "does not exist"),
        ("openai/gsm8k:", "does not exist"),
        ("openai/gsm8k:a:b:c", "does not exist"),
        ("nobody/train.jsonl", "does not exist"),
        ("gsm8k", "does not exist: give a file of problems (jsonl, json, csv, tsv, parquet), or a data set of the hub"),
        ("tests/none", "does not exist"),
        ("https://example.org/a.jsonl", "is an address, which is not fetched: download it first"),
        (
            "{0}/train.jsonl,{0}/eval.json",
            "does not exist; several sources have blanks between them: {0}/tr",
        ),
        ("[{0}/train.jsonl, b]", "does not exist; several sources have blanks between them"),
        ("{}/*.jsonl", "does not exist; a shell fills in * and ? where there is a blank before the name"),
        ("/dev/null", "is no regular file"),
    ],
)
def test_what_is_no_source_is_named_with_what_may_be_meant(tmp_path, text, answer):
    for name in ("train.jsonl", "eval.json", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError) as error:
        find_source(text.format(tmp_path))
    assert str(error.value).startswith(f"{text.format(tmp_path)} {answer.format(tmp_path)}")

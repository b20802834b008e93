# SPDX-License-Identifier: Apache-2.0
"""A run's parts: the data as encoded by the tokenizer, and their description in the header."""

import dataclasses
import json

import pytest

from ntl_jax.train.factory import assemble
from ntl_jax.train.header import describe

ROW = {"question": "Tom has 2 cups and buys 3 more.", "answer": "2+3=5.\n#### 5"}
BAD = {"question": "Tom has 2 cups.<|endoftext|>", "answer": "#### 2"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (ROW, BAD, ROW, ROW, ROW)))
    return {"train": str(path), "eval": str(path), "template": "Q:\t{question}\nA:"}


def with_data(config, **settings):
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **settings))


def test_rows_with_special_tokens_stop_the_run(tiny, files):
    with pytest.raises(ValueError, match=r"1 of 5 rows are malformed.*\n.*problem 1: its question has .*endoftext"):
        assemble(with_data(tiny, **files))


def test_rows_with_special_tokens_can_be_skipped_and_the_header_shows_the_first_prompt(tiny, files, tmp_path):
    config = with_data(tiny, **files, on_bad_row="skip")
    config = dataclasses.replace(config, rollout=dataclasses.replace(config.rollout, stop_strings=("\n\n", "A:,B:")))
    parts = assemble(config)
    assert [p.index for p in parts.train_prompts] == [p.index for p in parts.eval_prompts] == [0, 2, 3, 4]
    rows = describe(parts, tmp_path)
    assert "4 train, 4 held out; left out: 2 malformed rows" in rows["data"]
    assert rows["first prompt"].startswith(r"'Q:\tTom has 2 cups and buys 3 more.\nA:', ")
    assert rows["first prompt"].endswith("special tokens: none")
    assert rows["end of a response"].endswith(r", '\n\n', 'A:,B:'")

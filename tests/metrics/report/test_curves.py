# SPDX-License-Identifier: Apache-2.0
"""Metrics as columns: gaps, files that are damaged, steps that stand twice."""

import json

import pytest

from ntl_jax.metrics.report.curves import meanings, read_columns


def columns_of(tmp_path, text: str) -> tuple[dict, list[str]]:
    (tmp_path / "metrics.jsonl").write_text(text)
    notes: list[str] = []
    return read_columns(tmp_path / "metrics.jsonl", notes), notes


def line(stage: str, step: object, **values: object) -> str:
    return json.dumps({"stage": stage, "step": step} | values) + "\n"


def test_a_metric_has_one_value_per_step_and_null_where_it_has_none(tmp_path):
    text = line("warm_start", 1, a=1.5) + line("ppo", 1, b=2) + line("ppo", 2, a=None, b=0.123456789)
    columns, notes = columns_of(tmp_path, text)
    assert columns == {
        "warm_start": {"steps": [1], "values": {"a": [1.5]}},
        "ppo": {"steps": [1, 2], "values": {"b": [2, 0.123457], "a": [None, None]}},
    }
    assert notes == []


@pytest.mark.parametrize("bad", ["{", "[1]", line("other", 1), line("ppo", "1"), '{"stage": "ppo"}', "[" * 5000])
def test_lines_that_cannot_be_read_are_left_out_and_noted(tmp_path, bad):
    columns, notes = columns_of(tmp_path, line("ppo", 1, a=1) + bad.strip() + "\n" + line("ppo", 2, a=2) + '{"sta')
    assert columns["ppo"]["steps"] == [1, 2]
    assert notes == ["metrics.jsonl: 2 lines cannot be read and are left out"]


def test_values_that_are_no_numbers_are_gaps(tmp_path):
    text = '{"stage": "ppo", "step": 1, "a": NaN, "b": 1e400, "c": "x", "d": true, "e": [1]}\n'
    columns, _ = columns_of(tmp_path, text)
    assert columns["ppo"]["values"] == {name: [None] for name in "abcde"}


def test_steps_are_in_order_and_the_last_line_of_a_step_counts(tmp_path):
    columns, _ = columns_of(tmp_path, line("ppo", 2, a=1) + line("ppo", 1, a=5) + line("ppo", 2, a=7))
    assert columns["ppo"] == {"steps": [1, 2], "values": {"a": [5, 7]}}


def test_a_missing_file_is_noted(tmp_path):
    notes: list[str] = []
    assert read_columns(tmp_path / "metrics.jsonl", notes) == {} and "cannot be read" in notes[0]


def test_metrics_that_the_table_knows_have_a_meaning():
    columns = {"ppo": {"steps": [], "values": {"ntl/loss": [], "timing_s/gen": [], "from/another_version": []}}}
    assert meanings([columns]).keys() == {"ntl/loss", "timing_s/gen"}

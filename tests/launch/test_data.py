# SPDX-License-Identifier: Apache-2.0
"""Problems are prepared as files that need no settings, and shown as the policy will see them."""

import dataclasses
import json
import re

import pytest

from launch import data
from ntl_jax.config import DataSection, FieldsSection, ModelSection, PromptSection, RunConfig, config_to_json
from ntl_jax.data.files import load_problems

ROWS = [{"problem": f"What is {i}+{i}?", "result": 2 * i, "steps": f"{i}+{i}={2 * i}"} for i in range(1, 21)]
FIELDS = ["--fields.question=problem", "--fields.answer", "result", "--fields.solution=steps"]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*ROWS, ROWS[0]]))
    return str(path)


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_what_is_prepared_reads_as_the_same_problems_without_settings(source, tmp_path, ending, capsys):
    out, other = tmp_path / f"train{ending}", tmp_path / f"test{ending}"
    assert data.main(["prepare", source, str(out), *FIELDS, "--hold-out", "5", str(other), "--seed=1"]) == 0
    said = capsys.readouterr().out
    assert "read 21 rows: 0 malformed and left out, 1 with a question of an earlier row" in said
    kept, held_out = load_problems([str(out)])[0], load_problems([str(other)])[0]
    assert f"wrote {len(kept)} to {out} and {len(held_out)} to {other}" in said
    assert len(held_out) in (4, 5) and not {p.text for p in kept} & {p.text for p in held_out}
    whole, _ = load_problems([source], FieldsSection(question="problem", answer="result", solution="steps"))
    expected = {(p.text, p.ground_truth, p.solution, p.data_source) for p in whole}
    assert {(p.text, p.ground_truth, p.solution, p.data_source) for p in [*kept, *held_out]} == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["sums.jsonl", out.name, other.name])


def test_only_the_first_rows_are_kept_and_malformed_ones_left_out(tmp_path, capsys):
    source, out = tmp_path / "a.csv", tmp_path / "b.jsonl"
    source.write_text("question,answer\n1?,1\n2?,two\n3?,3\n4?,4\n")
    assert data.main(["prepare", str(source), str(out), "--on-bad-row=skip", "--limit=2"]) == 0
    assert "read 4 rows: 1 malformed and left out" in capsys.readouterr().out
    assert [p.ground_truth for p in load_problems([str(out)])[0]] == ["1", "3"]
    assert data.main(["prepare", str(source), str(tmp_path / "c.jsonl"), "--texts"]) == 0
    assert [p.ground_truth for p in load_problems([str(tmp_path / "c.jsonl")], numeric=False)[0]] == [
        "1",
        "two",
        "3",
        "4",
    ]


def test_both_files_are_written_or_none(tmp_path, capsys):
    """No three of the rows fit a parquet file, since what they hold for rewards differs in type."""
    rows = [{"question": f"{i}?", "answer": i, "extra_info": {"x": i if i % 2 else "even"}} for i in range(4)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out, other = tmp_path / "b.jsonl", tmp_path / "c.parquet"
    assert data.main(["prepare", str(tmp_path / "a.jsonl"), str(out), "--hold-out", "3", str(other)]) == 1
    assert "the rows fit no parquet file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_rows_are_shown_with_special_tokens_numbers_and_true_digits(source, capsys):
    assert data.main(["show", source, *FIELDS, "--rows=2"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"row 1 of sums: true answer '2', prompt of \d+ tokens, solution of \d+\n", shown)
    assert "What is {1}+{1}?" in shown and "{1}+{1}={2:2}[[<|endoftext|>]]" in shown
    assert "row 2 of sums" in shown and "row 3 of sums" not in shown and "rows shown: 2" in shown


def test_a_run_says_how_rows_are_shown(source, tmp_path, capsys):
    config = RunConfig(model=ModelSection(num_layers=1, mesh=(1, 1, 1)))
    (tmp_path / "config.json").write_text(config_to_json(config))
    assert data.main(["show", source, *FIELDS, f"--model={tmp_path}", "--rows=1"]) == 0
    assert data.main(["show", source, *FIELDS, "--config=gsm8k_ntl", "--rows=1"]) == 0
    assert len(re.findall("rows shown: 1", capsys.readouterr().out)) == 2


def test_rows_of_any_length_are_shown_where_no_settings_are_named(tmp_path, capsys):
    (tmp_path / "long.jsonl").write_text(json.dumps({"question": "How much is 2+3? " * 100, "answer": 5}))
    assert data.main(["show", str(tmp_path / "long.jsonl")]) == 0
    assert "rows shown: 1" in capsys.readouterr().out


def test_the_rows_that_a_run_learned_from_are_shown_under_its_limits_and_with_its_examples(source, tmp_path, capsys):
    settings = {"fields": FieldsSection(question="problem", answer="result"), "train": (source,), "eval": (source,)}
    limits = {"max_prompt_tokens": 60, "max_solution_tokens": 8, "on_long_row": "error"}
    for prompt in (PromptSection(), PromptSection(few_shot=2)):
        config = RunConfig(model=ModelSection(num_layers=1, mesh=(1, 1, 1)), prompt=prompt)
        config = dataclasses.replace(config, data=DataSection(**settings, **limits))
        (tmp_path / "config.json").write_text(config_to_json(config))
        assert data.main(["show", source, f"--model={tmp_path}", "--rows=1"]) == 0
        assert "rows shown: 1" in capsys.readouterr().out


def test_a_file_is_not_left_where_another_cannot_be_written(source, tmp_path):
    (tmp_path / "held" / ".b.jsonl.part").mkdir(parents=True)  # the second file cannot be written
    out, other = tmp_path / "a.jsonl", tmp_path / "held" / "b.jsonl"
    assert data.main(["prepare", source, str(out), *FIELDS, "--hold-out", "5", str(other)]) == 1
    assert not out.exists() and not other.exists()


def test_help_says_what_the_commands_do(capsys):
    assert data.main(["--help"]) == 0
    assert "prepare SOURCE OUT" in capsys.readouterr().out
    for command in data.COMMANDS:
        with pytest.raises(SystemExit) as end:
            data.main([command, "--help"])
        assert end.value.code == 0 and "--fields.question" in capsys.readouterr().out

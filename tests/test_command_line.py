# SPDX-License-Identifier: Apache-2.0
"""Command lines and configuration files: what is read, and what is answered where something is wrong."""

import argparse
import io
import pathlib
from typing import Literal

import pytest

from ntl_jax.command_line import (
    SWITCH,
    Once,
    PathOnce,
    announce,
    check_unused,
    describe_kind,
    given_options,
    parse_once,
    unreadable_value,
)

KINDS = {
    "--config": str,
    "--resume": SWITCH,
    "--config.rollout.max_tokens": int,
    "--config.data.tiers": tuple[int, ...],
    "--config.model.mesh": tuple[int, int, int],
    "--config.ntl.method": Literal["mse", "wasserstein", "raft"],
}
EXAMPLE = pathlib.Path("configs/gsm8k_ntl.py")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="eval.py")
    made.add_argument("source", action=Once)
    made.add_argument("--max-tokens", type=int, action=Once)
    made.add_argument("--output", action=PathOnce)
    made.add_argument("--stops", nargs="+", action=Once)
    return made


def test_options_are_read_with_and_without_an_equals_sign_and_with_hyphens():
    argv = ["--config=a", "--config.rollout.max-tokens", "-3", "--config.model.mesh", "-1", "1", "1", "--resume", "-h"]
    assert given_options(argv, KINDS) == {
        "--config": ["a"],
        "--config.rollout.max_tokens": ["-3"],
        "--config.model.mesh": ["-1", "1", "1"],
        "--resume": [],
    }


@pytest.mark.parametrize(
    ("argv", "answer"),
    [
        (["--max_tokens=3"], "there is no option --max_tokens: did you mean --config.rollout.max_tokens?"),
        (["rollout.max_tokens=3"], "'rollout.max_tokens=3' belongs to no option: did you mean --config.rollout"),
        (["mine"], "'mine' belongs to no option: did you mean --config=mine?"),
        (["--config=a", "mine"], "'mine' belongs to no option: write options as --name=value"),
        (["--config.model.mesh", *"1111"], "'1' belongs to no option: --config.model.mesh takes 3 values"),
        (["--config.model.mesh=1", *"111"], "'1' belongs to no option: --config.model.mesh takes 3 values"),
        (["--resume=yes"], "--resume takes no value"),
        (["--config="], "--config is empty: give a value, or leave it out"),
        (["--config", ""], "--config is empty"),
        (["--config= "], "--config is empty"),
        (["--config=a", "--config", "a"], "--config is given twice: give it once"),
    ],
)
def test_what_no_option_reads_is_a_mistake_with_a_hint(argv, answer):
    with pytest.raises(ValueError) as error:
        given_options(argv, KINDS)
    assert answer in str(error.value)


def test_a_value_that_cannot_be_read_is_answered_with_what_is_allowed():
    given = {
        "--config.ntl.method": ["wassertein"],
        "--config.data.tiers": ["x", "y"],
        "--config.rollout.max_tokens": [],
    }
    for name, answer in [
        ("--config.ntl.method", "=wassertein: must be one of mse, wasserstein, raft; did you mean wasserstein?"),
        ("--config.data.tiers", "=x y: must be any number of values, each a whole number"),
        ("--config.rollout.max_tokens", " has no value: must be a whole number"),
    ]:
        broken = f"cannot read {name[:12]}\n   {name[12:]}"
        assert unreadable_value(broken, given, KINDS) == f"{name}{answer}"
    assert unreadable_value("something\n  else", given, KINDS) == "something else"


def test_kinds_are_described_in_words():
    assert describe_kind(tuple[Literal["a", "b"], ...]) == "any number of values, each one of a, b"
    assert describe_kind(str | None) == "a text or None" and describe_kind(bool) == "true or false"


@pytest.mark.parametrize(
    ("argv", "answer"),
    [
        (["a", "--max-tokens=1", "--max-tokens=2"], "--max-tokens is given twice: give it once"),
        (["a", "--max-t=2"], "did you mean --max-tokens?"),
        (["a", "--max-token5=2"], "did you mean --max-tokens?"),
        (["a", "max-tokens=2"], "did you mean --max-tokens?"),
        (["a", "b"], "'b' is not understood: the options are --help, --max-tokens, --output, --stops"),
        ([""], "source is empty: give a value, or leave it out"),
        (["a", "--output="], "--output is empty: give a value, or leave it out"),
        (["a", "--stops="], "--stops is empty: give a value, or leave it out"),
        (["a", "--output=b", "--output=c"], "--output is given twice: give it once"),
        (["a", "--output=~nobody_here/b"], "--output: ~nobody_here/b cannot be found"),
    ],
)
def test_options_of_a_parser_are_given_once_and_misspelled_ones_get_a_hint(argv, answer, capsys):
    assert parse_once(parser(), ["a", "--max-tokens=1"]).max_tokens == 1
    assert parse_once(parser(), ["a", "--stops", "\n", " "]).stops == ["\n", " "]  # several texts may be blank
    with pytest.raises(SystemExit):
        parse_once(parser(), argv)
    assert answer in capsys.readouterr().err


def test_a_folder_for_results_must_be_new_or_empty_and_lie_where_one_may_write(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for unused in (None, tmp_path / "empty", tmp_path / "new" / "folder"):
        check_unused(unused, "--output")
    for used, answer in [("", "not empty"), ("file", "already exists"), ("file/new", "cannot be made in")]:
        with pytest.raises(ValueError, match=rf"--output={tmp_path / used}.* {answer}"):
            check_unused(tmp_path / used, "--output")


def test_the_first_line_is_printed_before_imports_that_take_seconds(capsys, monkeypatch):
    monkeypatch.delenv("TRANSFORMERS_NO_ADVISORY_WARNINGS", raising=False)
    announce("evaluating")
    assert capsys.readouterr().out == "evaluating\n"


def test_a_path_that_is_typed_with_a_tilde_lies_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_once(parser(), ["a", "--output=~/b"]).output == tmp_path / "b"


def test_a_character_that_the_output_cannot_show_ends_no_run(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    announce("evaluating runs/Gr\u00f6\u00dfe")
    print("\u4e8c", flush=True)
    assert written.getvalue() == rb"evaluating runs/Gr\xf6\xdfe" + b"\n" + rb"\u4e8c" + b"\n"

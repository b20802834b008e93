# SPDX-License-Identifier: Apache-2.0
"""Asking runs and models from the command line: an argument, lines of a pipe, and what is typed."""

import io
import json
import subprocess
import sys

import pytest

from launch import export
from launch import sample as command
from ntl_jax.config import RunConfig, config_to_json
from ntl_jax.train.asking.asker import Asker

QUESTION = "Tom has 3 apples and buys 4 more. How many has he?"
SHORT = "--max-tokens=4"


@pytest.fixture(scope="module")
def empty_run(tmp_path_factory):
    """A run folder without checkpoints."""
    folder = tmp_path_factory.mktemp("empty")
    (folder / "config.json").write_text(config_to_json(RunConfig()))
    return str(folder)


def typed(monkeypatch, text: str | bytes | None):
    stdin = None if text is None else io.TextIOWrapper(io.BytesIO(text.encode() if isinstance(text, str) else text))
    monkeypatch.setattr(sys, "stdin", stdin)


def test_a_run_answers_as_lines_of_json_and_so_does_its_exported_model(finished, tmp_path, capsys):
    export.export(finished.folder, tmp_path / "model")
    capsys.readouterr()
    rows = []
    for source in (finished.folder, tmp_path / "model"):
        assert command.main([str(source), QUESTION, "--json", "--max_tokens=8"]) == 0
        shown = capsys.readouterr()
        rows.append(json.loads(shown.out))
        assert "greedy" in shown.err and shown.out.count("\n") == 1
    assert rows[0] == rows[1] and rows[0]["question"] == QUESTION and len(rows[0]["token_ids"]) <= 8


def test_a_group_with_its_truth_is_sampled_at_the_runs_temperature_and_judged(finished, capsys):
    assert command.main([str(finished.folder), QUESTION, "--n=8", "--truth=7", SHORT, "--seed=3", "--top-p=0.9"]) == 0
    shown = capsys.readouterr()
    assert "temperature 1, top_p 0.9;" in shown.err
    assert "sample 7 (" in shown.out and "answer  samples  right  reward" in shown.out
    assert "mean@8 " in shown.out and "pass@8 " in shown.out


def test_lines_of_a_pipe_are_questions_of_which_blank_ones_are_left_out(finished, monkeypatch, capsys):
    typed(monkeypatch, f"{QUESTION}\n\n  \r\n2+2?\n")
    assert command.main([str(finished.folder), SHORT]) == 0
    shown = capsys.readouterr().out
    assert shown.count("question: ") == shown.count("answer: ") == 2 and f"question: {QUESTION}\n" in shown


def test_typed_questions_are_answered_one_by_one_and_a_bad_one_ends_nothing(finished, monkeypatch, capsys):
    lines = iter(["2+2?", " ", "a <|endoftext|>", "3+3?"])

    def line(_):
        for text in lines:
            return text
        raise EOFError

    monkeypatch.setattr("builtins.input", line)
    monkeypatch.setattr(command, "_is_typed", lambda: True)
    typed(monkeypatch, "")
    assert command.main([str(finished.folder), SHORT]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("answer: ") == 2
    assert shown.err.count("error: ") == 1 and "special token" in shown.err


def test_a_conversation_goes_on_with_the_answers_and_needs_a_chat_template(finished, monkeypatch, capsys, tmp_path):
    template = tmp_path / "turns.jinja"
    template.write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    asked = []
    encode = Asker.encode
    monkeypatch.setattr(Asker, "encode", lambda *args: asked.extend(prompts := encode(*args)) or prompts)
    typed(monkeypatch, "1+1?\n2+2?\n")
    assert command.main([str(finished.folder), "--chat", f"--template={template}", SHORT, "--json"]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert [prompt.text for prompt in asked] == [
        "user: 1+1?\n",
        f"user: 1+1?\nassistant: {first['text']}\nuser: 2+2?\n",
    ]
    assert second["question"] == "2+2?"
    typed(monkeypatch, "1+1?\n")
    assert command.main([str(finished.folder), "--chat", SHORT]) == 1
    assert "--chat needs a chat template" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stdin", "options", "message"),
    [
        (None, [], "standard input is closed: give the question as an argument"),
        ("", [], "standard input has no question"),
        (" \n\n", [], "standard input has no question"),
        (b"2+\xff?\n", [], "standard input is not UTF-8 text"),
        (b"1\n" * 6_000_000, [], "standard input has more than 10,000,000 characters, or no end: split it"),
        ("1+1?\n2+2?\n", ["--truth=2"], "--truth=2 is the answer to one question, and there are 2"),
    ],
)
def test_a_standard_input_that_holds_no_questions_is_answered_in_a_line(
    empty_run, monkeypatch, capsys, stdin, options, message
):
    typed(monkeypatch, stdin)
    assert command.main([empty_run, *options]) == 1
    shown = capsys.readouterr()
    assert message in shown.err and shown.err.count("\n") == 1 and not shown.out


def test_a_standard_output_that_is_closed_is_named_before_anything_is_loaded(empty_run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)
    assert command.main([empty_run, "2+2?"]) == 1
    assert "standard output is closed" in capsys.readouterr().err


def test_a_reader_that_has_read_enough_ends_it_quietly():
    script = (
        "import sys; from launch import sample\n"
        "sample.sample = lambda _: print('x' * 1_000_000, flush=True)\n"
        "sys.exit(sample.main(['run', '2+2?']))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 0


def test_ctrl_c_ends_it_at_once_with_130(empty_run):
    script = (
        "import os, signal; from ntl_jax.ending import end_at_signals; end_at_signals()\n"
        "from launch import sample\n"
        "sample._questions = lambda _: os.kill(os.getpid(), signal.SIGINT)\n"
        f"sample.main([{empty_run!r}])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 130 and run.stderr.strip() == "ended by SIGINT"

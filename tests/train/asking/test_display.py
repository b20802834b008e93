# SPDX-License-Identifier: Apache-2.0
"""Answers on terminals of any width, without color, in a pipe, and as JSON."""

import dataclasses
import io
import json

import numpy as np
import pytest
from rich.console import Console

from ntl_jax.numerals import TokenDecoder, sampled_numbers
from ntl_jax.train.asking.asker import Sample, Verdict
from ntl_jax.train.asking.display import as_rows, digit_lines, print_samples
from tests.samples import ask, respond, table, tokenizer


def sample(text: str = "so 3 + 4 = 7\n#### 7", verdict: Verdict | None = None, *, cut: bool = False) -> Sample:
    """A response whose digits have probability 0.9."""
    trajectory = respond(ask(), text, sure=True, finish="length" if cut else "stop")
    read, starts = TokenDecoder(tokenizer())(trajectory.response_ids)
    digits = sampled_numbers(trajectory.response_ids, np.asarray(table().token_values))
    return Sample(read, "7", starts, digits, trajectory, verdict)


def one_digit(digit: int, probabilities: list[float]) -> Sample:
    """A response of one digit, with these probabilities of the ten."""
    made = sample(str(digit))
    log_probs = np.log(np.maximum(np.array([probabilities, [0.1] * 10], np.float32), 1e-9))
    return made._replace(trajectory=dataclasses.replace(made.trajectory, digit_log_probs=log_probs))


def console(width: int = 100, *, terminal: bool = True, **settings) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, highlight=False, **settings)


def printed(samples: list[Sample], where: Console) -> str:
    print_samples(samples, where)
    assert isinstance(where.file, io.StringIO)
    return where.file.getvalue()


SEVEN = [0.0, 0.5, 0, 0, 0, 0, 0, 0.25, 0.25, 0]


def test_bars_are_as_long_as_the_probabilities_and_the_sampled_digit_is_marked_without_color():
    (line,) = digit_lines(one_digit(7, SEVEN), console(width=100))
    cells = line.plain[15:]
    assert [cells[i * 8 : i * 8 + 2] for i in range(10)] == [">7" if d == 7 else f" {d}" for d in range(10)]
    bars = [len(cells[i * 8 + 2 : i * 8 + 8].strip()) for i in range(10)]
    assert bars == [0, 3, 0, 0, 0, 0, 0, 2, 2, 0]
    assert len(line.plain) <= 100


@pytest.mark.parametrize("width", [70, 80, 100, 200])
def test_lines_fit_the_terminal(width):
    assert all(len(line.plain) <= width for line in digit_lines(sample(), console(width)))


@pytest.mark.parametrize("width", [20, 40, 69])
def test_a_narrow_terminal_shows_the_likeliest_digits_in_numbers_the_sampled_one_first(width):
    (line,) = digit_lines(one_digit(7, SEVEN), console(width))
    assert line.plain.strip().startswith(">7  25%") and len(line.plain) <= max(width, 22)
    assert ("1  50%" in line.plain) == (width >= 40)


@pytest.mark.parametrize("where", [console(terminal=False), console(_environ={"TERM": "dumb"})], ids=["pipe", "dumb"])
def test_where_nothing_can_be_drawn_a_digit_is_a_plain_line(where):
    shown = printed([sample(cut=True)], where)
    lines = shown.splitlines()
    assert lines[:2] == ["so 3 + 4 = 7", "#### 7"] and "\x1b" not in shown and "█" not in shown
    assert lines[2].startswith("digit 3 after 'so ': 0=0.011 1=0.011 2=0.011 >3=0.900 4=0.011")
    assert len(lines) == 7 and lines[-1].startswith("answer: 7 (cut off after ")


def test_a_terminal_without_color_has_bars_and_no_colors():
    shown = printed([sample()], console(no_color=True))
    assert ">3" in shown and "█" in shown and "\x1b[3" not in shown


def test_what_a_policy_writes_cannot_upset_the_terminal():
    shown = printed([sample("\x1b[2J 7")], console(terminal=False))
    assert "\x1b" not in shown and r"\x1b[2J 7" in shown


def test_a_group_shows_how_often_each_answer_came_and_what_it_earned():
    right, wrong = Verdict(True, 1.0, 0.5, None), Verdict(False, 0.25, np.inf, None)
    failed = Verdict(True, None, 0.5, "Traceback\nKeyError: 'x'")
    verdicts = [right, wrong, failed, right]
    samples = [sample(verdict=verdict)._replace(answer="7" if verdict.correct else None) for verdict in verdicts]
    shown = printed(samples, console(terminal=False))
    rows = [" ".join(line.split()) for line in shown.splitlines()]
    assert {"answer samples right reward NTL loss", "7 3 yes 1 0.5", "none 1 no 0.25 inf"} <= set(rows)
    assert "mean@4 0.750, maj@4 1.000, pass@2 1.000, pass@4 1.000" in shown
    assert shown.endswith("1 of 4 have no reward; the first: KeyError: 'x'\n")
    on_terminal = printed(samples, console(60))
    assert "none" in on_terminal and "NTL loss" in on_terminal


def test_one_response_says_whether_it_is_right_and_why_it_has_no_reward():
    assert "right, reward 0.5, NTL loss 0.25" in printed([sample(verdict=Verdict(True, 0.5, 0.25, None))], console())
    assert "wrong, no reward: E: x" in printed([sample(verdict=Verdict(False, None, None, "E: x"))], console())


def test_rows_for_programs_hold_texts_ids_and_the_log_probs_of_tokens_and_digits():
    verdict = Verdict(False, None, float("inf"), "why")
    (written,) = as_rows("3 + 4?", [sample(verdict=verdict)], "8")
    row = json.loads(json.dumps(written, allow_nan=False))
    assert row["text"] == "so 3 + 4 = 7\n#### 7" and row["answer"] == "7" and row["finish_reason"] == "stop"
    assert len(row["token_ids"]) == len(row["log_probs"])
    assert len(row["digit_positions"]) == len(row["digit_log_probs"]) == 4 and len(row["digit_log_probs"][0]) == 10
    assert [row[name] for name in ("truth", "correct", "score", "ntl_loss", "error")] == ["8", False, None, None, "why"]
    (plain,) = as_rows("3 + 4?", [sample()], "")
    assert "correct" not in plain and plain["sample"] == 0 and plain["question"] == "3 + 4?"

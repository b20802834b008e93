# SPDX-License-Identifier: Apache-2.0
"""What a run prints: moving bars on a terminal, few and whole lines in a log."""

import io

import pytest
from rich.console import Console

from ntl_jax.metrics import ProgressView, console, print_comparison, print_header


@pytest.fixture
def log():
    return Console(file=io.StringIO(), width=60)


def lines_of(log):
    return log.file.getvalue().splitlines()


def test_a_log_gets_few_lines_and_always_the_first_and_the_last(log):
    with ProgressView("ppo", total=1000, console=log) as view:
        for step in range(1, 1001):
            view.update(step, {"reward": 0.5})
    assert [line.split()[1] for line in lines_of(log)] == ["1/1000", "1000/1000"]


def test_a_log_gets_a_line_when_enough_time_has_passed(log, monkeypatch):
    monkeypatch.setattr(console, "SECONDS_BETWEEN_LINES", 0.0)
    with ProgressView("ppo", total=3, start=1, console=log) as view:
        for step in (2, 3):
            view.update(step, {"reward": 0.123456, "tokens/s": 12345.6})
    assert [line.split()[1] for line in lines_of(log)] == ["2/3", "3/3"]
    assert lines_of(log)[0].endswith("reward 0.123   tokens/s 12,346")


def test_a_line_of_a_log_is_never_broken_in_two(log):
    with ProgressView("ppo", total=1, console=log) as view:
        view.update(1, {f"figure_{i}": 1.0 for i in range(30)})
    assert len(lines_of(log)) == 1 and "figure_29" in lines_of(log)[0]


def test_a_terminal_shows_bar_steps_and_metrics():
    screen = io.StringIO()
    terminal = Console(file=screen, width=100, force_terminal=True, color_system=None)
    with ProgressView("ppo", total=4, start=1, console=terminal) as view:
        view.update(2, {"reward": 0.25})
    shown = screen.getvalue()
    assert "2/4" in shown and "reward 0.25" in shown and "left" in shown


def test_the_header_keeps_brackets_and_long_paths_as_they_are(log):
    print_header({"policy": "[bold] 4 layers", "run folder": "/runs/" + "x" * 100}, console=log)
    assert lines_of(log) == ["  policy       [bold] 4 layers", "  run folder   /runs/" + "x" * 100]


def test_the_comparison_shows_every_figure(log):
    print_comparison(["before", "after"], {"val/accuracy": ["30.1%", "57.4%"]}, console=log)
    assert all(text in log.file.getvalue() for text in ("before", "after", "val/accuracy", "30.1%", "57.4%"))


def test_the_time_left_does_not_count_the_compilation_of_the_first_step(log):
    view = ProgressView("ppo", total=62, console=log)
    view._began, view._first = 0.0, (1, 100.0)
    assert view._seconds_left(step=3, now=102.0) == 59.0
    assert view._seconds_left(step=1, now=100.0) == 6100.0

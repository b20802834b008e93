# SPDX-License-Identifier: Apache-2.0
"""What a run prints: moving bars on a terminal, few and whole lines in a log."""

import io

import pytest
from rich.console import Console

from ntl_jax.metrics import ProgressView, print_comparison, print_header


@pytest.fixture
def log():
    return Console(file=io.StringIO(), width=60)


def lines_of(log):
    return log.file.getvalue().splitlines()


def test_a_log_gets_few_lines_and_always_the_first_and_the_last(log):
    with ProgressView("ppo", total=1000, console=log) as view:
        for step in range(1, 1001):
            view.update(step, {"reward": 0.5})
    assert [line.split()[1] for line in lines_of(log)] == ["0/1000", "1/1000", "1000/1000"]
    assert lines_of(log)[0] == "ppo   0/1000   compiling"


def at_seconds(*times):
    """A clock that shows these times, one each time it is read."""
    return iter(times).__next__


def test_a_log_gets_a_line_when_enough_time_has_passed(log):
    with ProgressView("ppo", total=9, start=1, console=log, clock=at_seconds(0, 1, 2, 6, 7)) as view:
        for step in (2, 3, 4, 5):
            view.update(step, {"reward": 0.123456, "tokens/s": 12345.6})
    assert [line.split()[1] for line in lines_of(log)] == ["1/9", "2/9", "4/9"]
    assert lines_of(log)[1].endswith("reward 0.123   tokens/s 12,346")


def test_a_line_of_a_log_is_never_broken_in_two(log):
    with ProgressView("ppo", total=1, console=log) as view:
        view.update(1, {f"metric_{i}": 1.0 for i in range(30)})
    assert len(lines_of(log)) == 2 and "metric_29" in lines_of(log)[1]


def test_a_terminal_shows_bar_steps_and_metrics():
    screen = io.StringIO()
    terminal = Console(file=screen, width=100, force_terminal=True, color_system=None)
    with ProgressView("ppo", total=4, start=1, console=terminal) as view:
        view.update(2, {"reward": 0.25})
        view.update(3, {"reward": 0.25})
    shown = screen.getvalue()
    assert "compiling" in shown and "3/4" in shown and "reward 0.25" in shown and "left" in shown


def test_the_header_keeps_brackets_and_long_paths_as_they_are(log):
    print_header({"policy": "[bold] 4 layers", "run folder": "/runs/" + "x" * 100}, console=log)
    assert lines_of(log) == ["  policy       [bold] 4 layers", "  run folder   /runs/" + "x" * 100]


def test_the_comparison_shows_every_metric(log):
    print_comparison(["before", "after"], {"val/accuracy": ["30.1%", "57.4%"]}, console=log)
    assert all(text in log.file.getvalue() for text in ("before", "after", "val/accuracy", "30.1%", "57.4%"))


def test_the_time_left_is_not_guessed_from_the_first_step_which_compiles(log):
    with ProgressView("ppo", total=62, console=log, clock=at_seconds(0, 100, 106)) as view:
        for step in (1, 3):
            view.update(step, {})
    assert [line.split("   ")[2] for line in lines_of(log)] == ["compiling", "1:40 elapsed", "1:46 elapsed, 2:57 left"]


def test_a_stage_that_is_done_prints_nothing(log):
    with ProgressView("ppo", total=3, start=3, console=log):
        pass
    assert not lines_of(log)


@pytest.mark.parametrize("text", ["\x1b[2J\x1b]0;title\x07", "\u202egpj", "\x9b31m", "a\rb", "[/] [bold]", "\ud800"])
def test_a_terminal_gets_no_control_characters_from_names_and_texts(text):
    screen = io.StringIO()
    terminal = Console(file=screen, width=100, force_terminal=True, color_system=None)
    print_header({"policy": text}, console=terminal)
    print_comparison(["value"], {text: ["0.5"]}, console=terminal)
    shown = screen.getvalue()
    assert shown.replace("\n", "").isprintable()
    if text.isprintable():
        assert shown.count(text) == 2

# SPDX-License-Identifier: Apache-2.0
"""Tables fit the terminal, and lose their last columns rather than their numbers."""

import io
import math

import pytest
from rich.console import Console

from ntl_jax.metrics.numeric import Interval, print_differences, print_summaries

SUMMARY = {
    "answered": 1.0, "exact_match": 0.25, "smape": 0.123, "median_relative_error": math.inf, "order_of_magnitude": 0.5,
    "digit/1": 0.4, "digit/10": 0.3, "digit/100": 0.2, "digit/1000": 0.111, "pass@2": 0.3, "pass@16": 0.75,
}  # fmt: skip
GROUPS = {"calculations +, 101 to 1,000": (1234, SUMMARY), "words": (5, {"exact_match": 0.5})}


def terminal(width: int) -> tuple[Console, io.StringIO]:
    """A terminal and what is printed there."""
    text = io.StringIO()
    return Console(file=text, width=width, force_terminal=True, color_system=None), text


def test_a_log_has_all_columns_in_one_line_each(capsys):
    print_summaries(GROUPS)
    head, *_ = [line for line in capsys.readouterr().out.splitlines() if "problems" in line]
    assert head.replace("┃", " ").split() == [
        "problems", "exact", "pass@16", "sMAPE", "relative", "order", "1s", "10s", "100s", "answered"
    ]  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_narrow_terminal_shows_the_first_columns_whole(width):
    console, printed = terminal(width)
    print_summaries(GROUPS, console=console)
    text = printed.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text and "1,234" in text and "0.250" in text
    assert ("inf" in text) == ("relative" in text) == (width >= 80)


@pytest.mark.parametrize("width", [80, 200])
def test_differences_stand_beside_both_values(width):
    console, printed = terminal(width)
    interval = {"exact_match": Interval(0.25, 0.125, 0.5), "smape": Interval(math.nan, math.nan, math.nan)}
    print_differences({"all": (8, SUMMARY, {"exact_match": 0.0, "smape": 0.9}, interval)}, console=console)
    text = printed.getvalue()
    assert "+0.250 [+0.125, +0.500]" in text and "nan" not in text
    assert max(map(len, text.splitlines())) <= width and ("sMAPE" in text) == (width == 200)

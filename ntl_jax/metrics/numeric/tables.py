# SPDX-License-Identifier: Apache-2.0
"""Tables of what was measured over groups of problems, of one policy or of two."""

import math
from collections.abc import Collection, Iterable, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ntl_jax.config import printable
from ntl_jax.metrics.numeric.bootstrap import Interval

SHOWN = {
    "exact_match": "exact", "pass": "", "smape": "sMAPE", "median_relative_error": "relative",
    "order_of_magnitude": "order", "digit/1": "1s", "digit/10": "10s", "digit/100": "100s", "answered": "answered",
}  # fmt: skip
"""The measures of the table of one policy, by title; the last ones are left out where a terminal is narrow. ``pass``
stands for the pass@k of the largest k."""
COMPARED = {"exact_match": "exact", "smape": "sMAPE"}
"""Those of the table of two."""
INTERVAL = "+0.250 [+0.000, +0.500]"
IN_LOGS = 200
"""Columns where there is no terminal."""
NARROWEST_NAME = 16
"""Columns of a group's name, which may take several lines."""


def print_summaries(groups: Mapping[str, tuple[int, Mapping[str, float]]], *, console: Console | None = None) -> None:
    """Prints a row for each group of problems.

    Args:
        groups: the number of problems of each group and their summary, as `summarize_measures` gives it. Of several
            pass@k, the largest k is shown.
        console: where to print.

    Example:
        >>> print_summaries({"all": (8, {"exact_match": 0.25, "smape": 0.5, "pass@4": 0.5})})
        ┏━━━━━┳━━━━━━━━━━┳━━━━━━━┳━━━━━━━━┳━━━━━━━┓
        ┃     ┃ problems ┃ exact ┃ pass@4 ┃ sMAPE ┃
        ┡━━━━━╇━━━━━━━━━━╇━━━━━━━╇━━━━━━━━╇━━━━━━━┩
        │ all │        8 │ 0.250 │  0.500 │ 0.500 │
        └─────┴──────────┴───────┴────────┴───────┘
    """
    console = _console(console)
    present = dict.fromkeys(name for _, summary in groups.values() for name in summary)
    last_pass = max((name for name in present if name.startswith("pass@")), key=lambda name: int(name[5:]), default="")
    titles = {last_pass if name == "pass" else name: title or last_pass for name, title in SHOWN.items()}
    shown = {name: title for name, title in titles.items() if name in present}
    while len(shown) > 1 and _width(groups, shown.values()) > console.width:
        shown.popitem()
    table = _table("problems", *shown.values())
    for group, (count, summary) in groups.items():
        table.add_row(Text(printable(group)), f"{count:,}", *(_number(summary.get(name)) for name in shown))
    console.print(table)


def print_differences(
    groups: Mapping[str, tuple[int, Mapping[str, float], Mapping[str, float], Mapping[str, Interval]]],
    *,
    console: Console | None = None,
) -> None:
    """Prints a row for each group of problems that two policies have answered.

    Args:
        groups: the number of problems of each group, the first policy's summary, the second's, and the differences as
            `compare_measures` gives them. Intervals without 0 are bold.
        console: where to print.

    Example:
        >>> right, wrong = {"exact_match": 1.0}, {"exact_match": 0.75}
        >>> print_differences({"all": (8, right, wrong, {"exact_match": Interval(0.25, 0.0, 0.5)})})
        ┏━━━━━┳━━━━━━━━━━┳━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━┓
        ┃     ┃ problems ┃ exact ┃ against ┃              difference ┃
        ┡━━━━━╇━━━━━━━━━━╇━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━┩
        │ all │        8 │ 1.000 │   0.750 │ +0.250 [+0.000, +0.500] │
        └─────┴──────────┴───────┴─────────┴─────────────────────────┘
    """
    console = _console(console)
    present = {name for _, first, _, _ in groups.values() for name in first}
    shown = {name: title for name, title in COMPARED.items() if name in present}
    if _width(groups, [word for title in shown.values() for word in (title, "against", INTERVAL)]) > console.width:
        shown = dict([*shown.items()][:1])
    table = _table("problems", *(word for title in shown.values() for word in (title, "against", "difference")))
    for group, (count, first, second, differences) in groups.items():
        cells: list[str | Text] = []
        for name in shown:
            cells += [_number(first.get(name)), _number(second.get(name)), _interval(differences.get(name))]
        table.add_row(Text(printable(group)), f"{count:,}", *cells)
    console.print(table)


def _console(console: Console | None) -> Console:
    console = console or Console(highlight=False)
    return console if console.is_terminal else Console(file=console.file, highlight=False, width=IN_LOGS)


def _width(names: Collection[str], titles: Iterable[str]) -> int:
    """Columns that a table takes at least, with numbers of five characters."""
    cells = [min(NARROWEST_NAME, max(map(len, names))), len("problems"), *(max(len(title), 5) for title in titles)]
    return sum(cells) + 3 * len(cells) + 1


def _table(*titles: str) -> Table:
    table = Table("", *titles)
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if math.isfinite(value) else "inf"


def _interval(difference: Interval | None) -> Text:
    if difference is None or math.isnan(difference.value):
        return Text("")
    text = f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
    return Text(text, style="" if difference.low <= 0 <= difference.high else "bold")

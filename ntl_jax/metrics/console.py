# SPDX-License-Identifier: Apache-2.0
"""A run's console output: a header, progress bars with time left and live metrics, and a table at the end.

On a terminal the bars move; in a log they become one line every few seconds.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from ntl_jax.config import printable

COMPILING = "compiling"
"""Shown until the first step is done."""
SECONDS_BETWEEN_LINES = 5.0
"""In a log: often enough to show that the run is alive, rarely enough to read."""


def print_header(rows: Mapping[str, str], *, console: Console | None = None) -> None:
    """Prints what a run is about to do, one row per topic.

    Example:
        >>> print_header({"policy": "Qwen2, 0.87M parameters, from scratch", "devices": "8 cpu"})
          policy    Qwen2, 0.87M parameters, from scratch
          devices   8 cpu
    """
    console = console or Console(highlight=False)
    width = max(map(len, rows))
    for name, text in rows.items():
        console.print(Text.assemble("  ", (name.ljust(width), "bold cyan"), "   ", printable(text)), soft_wrap=True)


def print_comparison(
    columns: Sequence[str], rows: Mapping[str, Sequence[str]], *, console: Console | None = None
) -> None:
    """Prints metrics side by side, such as those before and after training.

    Args:
        columns: titles of the metrics' columns.
        rows: the metrics by name, one for each column.

    Example:
        >>> print_comparison(["before", "after"], {"val/accuracy": ["30.1%", "57.4%"]})
        ┏━━━━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━┓
        ┃              ┃ before ┃ after ┃
        ┡━━━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━┩
        │ val/accuracy │  30.1% │ 57.4% │
        └──────────────┴────────┴───────┘
    """
    table = Table("", *columns)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, metrics in rows.items():
        table.add_row(Text(printable(name)), *metrics)
    (console or Console(highlight=False)).print(table)


class ProgressView:
    """Progress of one stage, with time left and the metrics of the last update.

    Example:
        >>> import io
        >>> log = Console(file=io.StringIO(), width=120)
        >>> with ProgressView("ppo", total=2, console=log) as view:
        ...     view.update(1, {"reward": 0.25, "tokens/s": 12345.6})
        ...     view.update(2, {"reward": 0.5, "tokens/s": 12000.0})
        >>> print(log.file.getvalue())
        ppo   0/2   compiling
        ppo   1/2   0:00 elapsed   reward 0.25   tokens/s 12,346
        ppo   2/2   ...   reward 0.5   tokens/s 12,000
    """

    def __init__(
        self,
        title: str,
        total: int,
        *,
        start: int = 0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        title: name of the stage.
        total: number of steps in the stage.
        start: steps already done, if the run resumes.
        console: where to print; None: standard output.
        clock: returns seconds since an arbitrary moment.
        """
        self._clock = clock
        self._title, self._total, self._start = title, total, start
        self._console = console or Console(highlight=False)
        self._began = self._last_line = clock()
        self._first: tuple[int, float] | None = None
        self._bars = Progress(
            TextColumn("[bold cyan]{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[times]}"),
            TextColumn("{task.fields[metrics]}"),
            console=self._console,
        )
        self._task = self._bars.add_task(title, total=total, completed=start, times=COMPILING, metrics="")

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Shows that ``step`` steps are done, and the step's metrics."""
        text = "   ".join(f"{name} {_short(value)}" for name, value in metrics.items())
        now = self._clock()
        self._first = self._first or (step, now)
        times = ", ".join([f"{_minutes(now - self._began)} elapsed", *self._time_left(step, now)])
        self._bars.update(self._task, completed=step, times=times, metrics=text)
        ends = step in (self._start + 1, self._total)
        if not self._console.is_terminal and (ends or now - self._last_line >= SECONDS_BETWEEN_LINES):
            self._print(step, f"{times}   {text}")
            self._last_line = now

    def _print(self, step: int, text: str) -> None:
        self._console.print(f"{self._title}   {step}/{self._total}   {text}", soft_wrap=True, markup=False)

    def _time_left(self, step: int, now: float) -> list[str]:
        """Estimated from the pace after the first update, which compiles; unknown until the second."""
        assert self._first is not None
        first_step, first_time = self._first
        if step == first_step < self._total:
            return []
        pace = (now - first_time) / max(1, step - first_step)
        return [f"{_minutes(pace * (self._total - step))} left"]

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars.start()
        elif self._start < self._total:
            self._print(self._start, COMPILING)
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bars.stop()


def _short(value: float) -> str:
    """At most four significant digits; thousands in full."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _minutes(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"

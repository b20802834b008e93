# SPDX-License-Identifier: Apache-2.0
"""The answers on the terminal: a table for each question, then the diagnosis."""

from collections.abc import Sequence

from rich.columns import Columns
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from ntl_jax.config import printable
from ntl_jax.metrics.divergence.questions.answers import Answers
from ntl_jax.metrics.divergence.questions.diagnosis import Level
from ntl_jax.metrics.divergence.questions.questions import ANSWERS, UNKNOWN, Table
from ntl_jax.metrics.divergence.questions.token import DivergentToken

STYLES: dict[Level, str] = {"normal": "green", "note": "cyan", "check": "bold red"}
WIDE = ("by_token", "by_flip")
"""Tables with long names, which are not shown beside others."""
LONGEST, LONGEST_TOKEN = 40, 16
"""Characters of a text, and of a token's among its figures, which fit 80 columns with it."""


def print_answers(answers: Answers, *, console: Console | None = None) -> None:
    """Prints all of them.

    Args:
        answers: of a log.
        console: where to print; None: standard output.

    Example:
        >>> from ntl_jax.metrics.divergence.questions.diagnosis import Finding
        >>> print_answers(Answers([], [], {}, None, [Finding("few_tokens", "note", "only 3 divergent tokens")]))
        <BLANKLINE>
        Diagnosis
          note    only 3 divergent tokens
    """
    console = console or Console(highlight=False)
    if answers.top:
        console.print(_top_tokens(answers.top), "")
    tables = {name: _groups(table) for name, table in answers.tables.items()}
    for name in [name for name in WIDE if name in tables]:
        console.print(tables.pop(name), "")
    console.print(Columns(tables.values(), padding=(0, 2)))
    if (welch := answers.welch) is not None:
        test = f"Welch's t-test of digits against others: t = {welch.t:.3g}, df = {welch.df:.3g}, {welch.shown}"
        console.print(Text(test), soft_wrap=True)
    console.print(Text("\nDiagnosis", "bold"))
    width = max(map(len, STYLES))
    for finding in answers.findings:
        level = (finding.level.ljust(width), STYLES[finding.level])
        console.print(Text.assemble("  ", level, "  ", printable(finding.text)), soft_wrap=True)


def _top_tokens(top: Sequence[DivergentToken]) -> Grid:
    grid = _grid("Most divergent tokens", "iteration", "position", "token", "diverges", "sampler", "trainer", "answer")
    grid.columns[2].min_width, grid.columns[-1].min_width = 8, max(map(len, ANSWERS))
    grid.add_column("context", no_wrap=True, overflow="ellipsis", min_width=len("context"))
    for token in top:
        length = "" if token.length is None else f"/{token.length}"
        grid.add_row(
            "" if token.iteration is None else str(token.iteration),
            f"{token.position}{length}",
            _short(token.shown, LONGEST_TOKEN),
            _number(token.divergence) or "not finite",
            *map(_number, (token.rollout_prob, token.actor_prob)),
            "" if token.is_correct is None else ANSWERS[not token.is_correct],
            _short(None if token.context is None else repr(token.context)[1:-1]),
        )
    return grid


def _groups(table: Table) -> Grid:
    grid = _grid(table.question, "", "tokens", "share", "mean")
    grid.columns[0].justify = "left"
    for group in table.groups:
        style = "dim" if group.name == UNKNOWN else ""
        figures = (f"{group.tokens:,}", f"{group.share:.1%}", _number(group.mean))
        grid.add_row(_short(group.name), *figures, style=style)
    return grid


def _grid(title: str, *columns: str) -> Grid:
    grid = Grid(
        title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), header_style="dim"
    )
    for column in columns:
        grid.add_column(column, justify="right", no_wrap=True, min_width=len(column))
    return grid


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _short(text: str | None, longest: int = LONGEST) -> Text:
    """As the terminal may show it, without markup."""
    shown = printable(text or "")
    return Text(shown if len(shown) <= longest else f"{shown[: longest - 1]}…")

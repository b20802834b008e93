# SPDX-License-Identifier: Apache-2.0
"""What happened in a run: alarms, divergent tokens, samples without a reward, restarts of the pool, its last error."""

import collections
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from ntl_jax.ending import TRACEBACK_FILE, is_traceback
from ntl_jax.metrics.divergence.questions.answers import answer
from ntl_jax.metrics.divergence.questions.reading import log_files, read_log
from ntl_jax.metrics.divergence.questions.token import DivergentToken
from ntl_jax.metrics.report.curves import Columns

MOST_TOKENS, MOST_LINES, MOST_ERRORS = 200, 400, 50
MOST_BYTES = 2**20
"""Of the end of a log that is read."""
_ALARM = re.compile(r"alarm (?P<name>\w+) in iteration (?P<iteration>\d+): (?P<text>.*)")


def alarms(columns: Columns, folder: pathlib.Path) -> list[dict[str, Any]]:
    """The alarms of a run: name, first and last iteration in which each was on, and what it said.

    Args:
        columns: the run's metrics.
        folder: the run folder, whose ``divergence.log`` says more.

    Example:
        >>> ppo = {"steps": [1, 2, 3], "values": {"alarm/lost_update": [None, 1, 1], "ntl/loss": [1, 1, 1]}}
        >>> alarms({"ppo": ppo}, pathlib.Path("none"))
        [{'name': 'lost_update', 'first': 2, 'last': 3, 'text': ''}]
    """
    said = [found for line in log_lines(folder / "divergence.log") if (found := _ALARM.search(line))]
    texts = {(found["name"], int(found["iteration"])): found["text"] for found in said}
    found = []
    for stage in columns.values():
        for metric, values in stage["values"].items():
            if not metric.startswith("alarm/"):
                continue
            name, is_on = metric.partition("/")[2], False
            for step, value in zip(stage["steps"], values, strict=True):
                if value and not is_on:
                    found.append({"name": name, "first": step, "last": step, "text": texts.get((name, step), "")})
                elif value:
                    found[-1]["last"] = step
                is_on = bool(value)
    return sorted(found, key=lambda alarm: alarm["first"])


def divergent_tokens(folder: pathlib.Path, notes: list[str]) -> dict[str, Any] | None:
    """The most divergent tokens of a run and what they mean; None: it has no log of them.

    Args:
        folder: the run folder.
        notes: gets a line if the log cannot be read.
    """
    try:
        files = log_files(folder)
    except ValueError:  # no token has reached the threshold, or they are not logged
        return None
    try:
        answers = answer(read_log(files).tokens, MOST_TOKENS)
    except ValueError as error:
        notes.append(str(error))
        return None
    return {
        "tokens": [_token(token) for token in answers.top],
        "total": len(answers.tokens),
        "findings": [{"level": finding.level, "text": finding.text} for finding in answers.findings],
    }


def reward_errors(folder: pathlib.Path, notes: list[str]) -> list[dict[str, Any]]:
    """Why samples have no reward, the most frequent reasons first, with the first and the last iteration.

    Args:
        folder: the run folder.
        notes: gets a line if there are more reasons than are shown.
    """
    steps: dict[str, list[int]] = collections.defaultdict(list)
    for line in log_lines(folder / "reward_errors.jsonl", most_bytes=None):
        try:
            row = json.loads(line)
            text, step = str(row["error"]), row["step"]
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if type(step) is int:
            steps[text].append(step)
    by_count = sorted(steps.items(), key=lambda item: -len(item[1]))[:MOST_ERRORS]
    if len(steps) > MOST_ERRORS:
        notes.append(f"reward_errors.jsonl: {MOST_ERRORS} of {len(steps):,} reasons are shown, the most frequent ones")
    return [{"error": text, "count": len(of), "first": min(of), "last": max(of)} for text, of in by_count]


def log_lines(path: pathlib.Path, most_bytes: int | None = MOST_BYTES) -> Sequence[str]:
    """The last lines of a log, None: all of them; none if it is missing."""
    try:
        with path.open("rb") as file:
            file.seek(0 if most_bytes is None else max(0, path.stat().st_size - most_bytes))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return text.removesuffix("\n").split("\n") if text else []


def last_error(folder: pathlib.Path) -> str | None:
    """The traceback of the error that ended the run, of several processes that of the first that has one; None: it
    ended without one, or goes on."""
    names = (path.name for path in folder.glob("error*.txt") if is_traceback(path.name))
    in_order = sorted(names, key=lambda name: (name != TRACEBACK_FILE, len(name), name))
    return next(filter(None, ("\n".join(log_lines(folder / name)) for name in in_order)), None)


def _token(token: DivergentToken) -> dict[str, Any]:
    return {
        "iteration": token.iteration,
        "token_text": token.shown,
        "position": token.position,
        "prob_divergence": token.divergence,
        "rollout_prob": token.rollout_prob,
        "actor_prob": token.actor_prob,
        "flip_type": token.flip,
        "is_correct": token.is_correct,
        "context_text": token.context,
        "staleness": token.staleness,
    }

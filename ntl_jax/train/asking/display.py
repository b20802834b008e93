# SPDX-License-Identifier: Apache-2.0
"""Answers for people: each digit's ten probabilities as bars on a terminal, plain lines elsewhere; and for programs."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ntl_jax.config import printable
from ntl_jax.metrics import repeated_metrics
from ntl_jax.train.asking.asker import Sample

BEFORE = 14
"""Columns for the text before a digit."""
NARROW = 70
"""Columns below which bars would be too short to read: the likeliest digits stand there in numbers."""
WIDEST = 14
"""Columns of a digit and its bar, at most."""
EIGHTHS = " ▏▎▍▌▋▊▉█"
MARK = ">"
"""Stands before the digit that was sampled."""


def as_rows(question: str, samples: Sequence[Sample], truth: str) -> Iterator[dict[str, object]]:
    """One JSON object per sample, without NaN and infinity, which JSON does not have.

    Args:
        question: what was asked.
        samples: the responses.
        truth: the true answer; empty if it is not known.

    Example: see `launch/sample.py`, whose ``--json`` prints these.
    """
    for index, sample in enumerate(samples):
        trajectory, at = sample.trajectory, np.flatnonzero(sample.digits >= 0)
        of_digits = [] if trajectory.digit_log_probs is None else trajectory.digit_log_probs[at].tolist()
        row = {
            "question": question,
            "sample": index,
            "text": sample.text,
            "answer": sample.answer,
            "finish_reason": trajectory.finish_reason,
            "token_ids": trajectory.response_ids.tolist(),
            "log_probs": [_finite(x) for x in trajectory.rollout_log_probs.tolist()],
            "digit_positions": at.tolist(),
            "digit_log_probs": [[_finite(x) for x in digits] for digits in of_digits],
        }
        if verdict := sample.verdict:
            row |= {"truth": truth, "correct": verdict.correct, "score": verdict.score, "error": verdict.error}
            row["ntl_loss"] = None if verdict.ntl_loss is None else _finite(verdict.ntl_loss)
        yield row


def print_samples(samples: Sequence[Sample], console: Console) -> None:
    """Prints one response with the probabilities of its digits, or a group of responses with its answers.

    Args:
        samples: the responses to one question.
        console: where to print.
    """
    if len(samples) > 1:
        _print_group(samples, console)
        return
    (sample,) = samples
    _say(console, printable(sample.text))
    for line in digit_lines(sample, console):
        console.print(line, soft_wrap=True)
    _say(console, f"answer: {_shown(sample)}{_ending(sample)}")
    if sample.verdict:
        _say(console, ", ".join(_verdict(sample)))


def digit_lines(sample: Sample, console: Console) -> Iterator[Text]:
    """A line per digit: the text before it, and the probability of each of the ten digits, the sampled one marked.

    Args:
        sample: a response.
        console: its width, and whether it shows bars, decide about the form.
    """
    log_probs = sample.trajectory.digit_log_probs
    if log_probs is None:
        return
    draws = console.is_terminal and not console.is_dumb_terminal and not console.options.ascii_only
    for position in np.flatnonzero(sample.digits >= 0):
        start = int(sample.starts[position])
        before = printable(sample.text[max(0, start - BEFORE + 1) : start].replace("\n", " "))
        probabilities, digit = np.exp(log_probs[position].astype(float)), int(sample.digits[position])
        if not draws:
            yield Text(_numbers(before, probabilities, digit))
        elif console.width < NARROW:
            yield _likeliest(before, probabilities, digit, console.width)
        else:
            yield _bars(before, probabilities, digit, console.width)


def _bars(before: str, probabilities: np.ndarray, digit: int, width: int) -> Text:
    columns = min(WIDEST, (width - BEFORE - 1) // 10)
    line = Text(f"{before[-BEFORE:]:>{BEFORE}} ", style="dim")
    for d, probability in enumerate(probabilities):
        cell = f"{MARK if d == digit else ' '}{d}{_bar(probability, columns - 2)}"
        line.append(cell, style=_style(d, digit, probabilities))
    return line


def _likeliest(before: str, probabilities: np.ndarray, digit: int, width: int) -> Text:
    """As many digits as fit, the sampled one first and the others by their probability."""
    order = [digit, *(int(d) for d in np.argsort(-probabilities, kind="stable") if d != digit)]
    line = Text(f"{before[-BEFORE:]:>{BEFORE}}", style="dim")
    for d in order[: max(1, (width - BEFORE - 1) // 8)]:
        cell = f" {MARK if d == digit else ' '}{d} {probabilities[d]:4.0%}"
        line.append(cell, style=_style(d, digit, probabilities))
    return line


def _numbers(before: str, probabilities: np.ndarray, digit: int) -> str:
    shown = " ".join(f"{MARK if d == digit else ''}{d}={x:.3f}" for d, x in enumerate(probabilities))
    return f"digit {digit} after {before!r}: {shown}"


def _style(d: int, digit: int, probabilities: np.ndarray) -> str:
    if d != digit:
        return "cyan"
    return "bold green" if probabilities[d] == probabilities.max() else "bold yellow"


def _bar(probability: float, columns: int) -> str:
    """A bar of eighths of columns; anything above half an eighth is seen."""
    eighths = min(8 * columns - 1, round(probability * (8 * columns - 1)))
    whole, rest = divmod(eighths, 8)
    return f"{EIGHTHS[8] * whole}{EIGHTHS[rest] if rest else ''}".ljust(columns)


def _print_group(samples: Sequence[Sample], console: Console) -> None:
    for index, sample in enumerate(samples):
        console.print(Text(f"sample {index}{_ending(sample)}", style="bold"), soft_wrap=True)
        _say(console, printable(sample.text))
    judged = samples[0].verdict is not None
    columns = ("answer", "samples", *(("right", "reward", "NTL loss") if judged else ()))
    rows = list(_by_answer(samples))
    if console.is_terminal:
        table = Table(*columns)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
    else:
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        for row in (columns, *rows):
            _say(console, "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if not judged:
        return
    correct = np.array([[sample.verdict is not None and sample.verdict.correct for sample in samples]])
    metrics = repeated_metrics([[sample.answer for sample in samples]], correct)
    _say(console, ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    errors = [sample.verdict.error for sample in samples if sample.verdict and sample.verdict.error]
    if errors:
        _say(console, f"{len(errors)} of {len(samples)} have no reward; the first: {_last_line(errors[0])}")


def _by_answer(samples: Sequence[Sample]) -> Iterator[list[str]]:
    """A row per answer, the most frequent first: how often it was given and, if judged, what it is worth on average."""
    for answer, count in Counter(sample.answer for sample in samples).most_common():
        row = [printable(answer) if answer is not None else "none", str(count)]
        verdicts = [s.verdict for s in samples if s.answer == answer and s.verdict is not None]
        if verdicts:
            right = "yes" if verdicts[0].correct else "no"
            row += [right, _mean([v.score for v in verdicts]), _mean([v.ntl_loss for v in verdicts])]
        yield row


def _verdict(sample: Sample) -> Iterator[str]:
    verdict = sample.verdict
    assert verdict is not None
    yield "right" if verdict.correct else "wrong"
    yield (
        f"reward {verdict.score:.4g}" if verdict.score is not None else f"no reward: {_last_line(verdict.error or '')}"
    )
    if verdict.ntl_loss is not None:
        yield f"NTL loss {verdict.ntl_loss:.4g}"


def _ending(sample: Sample) -> str:
    count = len(sample.trajectory.response_ids)
    return f" (cut off after {count} tokens)" if sample.trajectory.finish_reason == "length" else f" ({count} tokens)"


def _shown(sample: Sample) -> str:
    return "none" if sample.answer is None else printable(sample.answer)


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.4g}" if known else "none"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _last_line(text: str) -> str:
    return printable(text.strip().splitlines()[-1]) if text.strip() else "unknown"


def _say(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)

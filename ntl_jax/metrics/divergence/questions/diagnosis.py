# SPDX-License-Identifier: Apache-2.0
"""The diagnosis: a pure function from the counts of a log to findings, each with the log's own figures.

A figure about divergent tokens alone does not say how many tokens there were to diverge: where 90% of the answers are
right, 90% of the divergent tokens are expected to be from right answers.
"""

import dataclasses
from typing import Literal

from ntl_jax.metrics.divergence.questions.counts import Counts, Side

FEW = 10
"""Fewer tokens show nothing: of 9 tosses of a coin, 7 or more are heads in one of eleven tries."""
CLEARLY = 0.8
"""From this share on, one side is the cause: of 20 tokens, chance puts 16 on one side in one log of 85."""
MOSTLY = 0.7
"""Above this share, one side dominates; up to it, the two are taken for equal: of 20 tokens, chance puts 14 on one side
in one log of 9."""
ONLY = 0.95
"""From this share on, all are of one kind: a comma among a hundred digits changes nothing."""
MORE = 1.5
"""Digits diverge more in right answers if by this factor: less is within what chance does to some dozens."""
SIGNIFICANT = 0.05
"""Largest p of a difference that is not taken for chance."""
GROWS = 2.0
"""Divergence grows if the second half of a log has lines in so many times as many iterations as the first: it has up to
twice as many by chance where a dozen iterations have lines."""

EXPECTED = "expected in arithmetic"
UNEXPECTED = "unexpected in arithmetic; check the prompt's format and the tokenization"

Level = Literal["normal", "note", "check"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """A conclusion.

    Args:
        name: of the rule, for programs.
        level: ``normal``: as expected; ``note``: to know; ``check``: look into it.
        text: the conclusion with its figures, one line.

    Example:
        >>> Finding("few_tokens", "note", "only 3 divergent tokens").level
        'note'
    """

    name: str
    level: Level
    text: str


def diagnose(counts: Counts) -> list[Finding]:
    """Draws the conclusions that the counts allow.

    Example:
        >>> for finding in diagnose(Counts(tokens=50, correct=Side(45, 0.9), incorrect=Side(5, 0.9))):
        ...     print(finding.level, finding.text)
        normal 90% of the divergent tokens (45 of 50) are from correct answers: the trainer learns right answers
    """
    findings = _not_finite(counts)
    if counts.tokens < FEW:
        text = f"only {_tokens(counts.tokens)}: too few to conclude from, which takes at least {FEW}"
        return [*findings, Finding("few_tokens", "note", text)]
    findings += _answers(counts)
    findings += _digits(counts)
    findings += _others(counts)
    findings += _cause(counts)
    return findings + _growth(counts)


def _not_finite(counts: Counts) -> list[Finding]:
    if not counts.not_finite:
        return []
    text = f"{_tokens(counts.not_finite)} without a divergence: a log-prob was not finite; look at the engine first"
    return [Finding("not_finite", "check", text)]


def _answers(counts: Counts) -> list[Finding]:
    right, wrong = counts.correct.count, counts.incorrect.count
    judged = right + wrong
    if judged < FEW:
        text = f"only {_tokens(judged)} from answers known to be correct or incorrect: too few to conclude from"
        return [Finding("few_answers", "note", text)]
    of_right = f"{_share(right, judged)} are from correct answers"
    of_wrong = f"{_share(wrong, judged)} are from incorrect answers"
    reward = "look at the reward"
    if right >= CLEARLY * judged:
        return [Finding("learns_right_answers", "normal", f"{of_right}: the trainer learns right answers")]
    if wrong >= CLEARLY * judged:
        return [Finding("learns_wrong_answers", "check", f"{of_wrong}: the trainer learns wrong answers; {reward}")]
    if right > MOSTLY * judged:
        return [Finding("mostly_right_answers", "normal", f"{of_right}: the trainer learns mostly right answers")]
    if wrong > MOSTLY * judged:
        text = f"{of_wrong}: the trainer learns mostly wrong answers; {reward}"
        return [Finding("mostly_wrong_answers", "check", text)]
    text = f"{of_right}, {wrong / judged:.0%} from incorrect ones: random, and the off-policy correction may not help"
    return [Finding("random", "note", text)]


def _digits(counts: Counts) -> list[Finding]:
    """What digits do in right answers and in wrong ones."""
    digits, known = counts.digits.count, counts.digits.count + counts.others.count
    right, wrong = counts.correct_digits, counts.incorrect_digits
    judged = right.count + wrong.count
    if judged < FEW:
        return []
    if digits >= ONLY * known:
        are_digits = f"{_share(digits, known)} are digits"
        if right.count > MOSTLY * judged:
            text = f"{are_digits}, {right.count / judged:.0%} of them in correct answers: {EXPECTED}"
            return [Finding("only_digits_of_right_answers", "normal", text)]
        if wrong.count > MOSTLY * judged:
            text = f"{are_digits}, {wrong.count / judged:.0%} of them in incorrect answers: look at the reward"
            return [Finding("only_digits_of_wrong_answers", "check", text)]
    findings = []
    if right.count > MORE * wrong.count:
        factor = f"{right.count / wrong.count:.1f} times as often" if wrong.count else "only"
        text = f"digits diverge {factor} in correct answers ({right.count:,} against {wrong.count:,}): {EXPECTED}"
        findings.append(Finding("digits_more_often_in_right_answers", "normal", text))
    if right.mean and wrong.mean and right.mean > MORE * wrong.mean:
        factor = f"{right.mean / wrong.mean:.1f} times as much"
        text = f"digits diverge {factor} in correct answers ({_means(right, wrong)}): {EXPECTED}"
        findings.append(Finding("digits_more_in_right_answers", "normal", text))
    return findings


def _others(counts: Counts) -> list[Finding]:
    """Whether tokens other than digits diverge more often, or more."""
    digits, others, test = counts.digits, counts.others, counts.welch
    known = digits.count + others.count
    if known < FEW:
        return []
    findings = []
    if others.count > digits.count:
        text = f"{_share(others.count, known)} are no digits: {UNEXPECTED}"
        findings.append(Finding("others_more_often", "check", text))
    if test is not None and test.p <= SIGNIFICANT:
        p = f"Welch's {test.shown}"
        if test.t < 0:
            text = f"other tokens diverge more than digits ({_means(others, digits)}, {p}): {UNEXPECTED}"
            findings.append(Finding("others_more", "check", text))
        else:
            text = f"digits diverge more than other tokens ({_means(digits, others)}, {p}): {EXPECTED}"
            findings.append(Finding("digits_more", "normal", text))
    return findings


def _cause(counts: Counts) -> list[Finding]:
    """Engine or staleness."""
    fresh, older = counts.fresh, counts.older
    if not fresh.count + older.count:
        return []
    if not older.count:
        text = (
            f"{_tokens(fresh.count)} sampled by the weights in training (age 0), none by older ones: the cause is the "
            "engine, or what it samples from, not staleness"
        )
        return [Finding("engine", "note", text)]
    if not fresh.count:
        text = (
            f"{_tokens(older.count)} sampled by older weights, none by those in training (age 0): mismatch/engine and "
            "mismatch/staleness in metrics.jsonl separate the causes"
        )
        return [Finding("older_weights", "note", text)]
    text = (
        f"{_tokens(fresh.count)} of age 0 and {older.count:,} of older weights ({_means(fresh, older)}): what both "
        "have is the engine's part, the rest is staleness"
    )
    return [Finding("engine_and_older_weights", "note", text)]


def _growth(counts: Counts) -> list[Finding]:
    first, second = counts.first_half, counts.second_half
    if first + second < FEW or second < GROWS * first:
        return []
    text = f"{first:,} iterations of the log's first half have lines, {second:,} of its second half: divergence grows; "
    return [Finding("grows", "check", text + "look at the learning rate, and at the weights that the engine gets")]


def _tokens(number: int) -> str:
    return f"{number:,} divergent token{'' if number == 1 else 's'}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%} of the divergent tokens ({part:,} of {whole:,})"


def _means(one: Side, other: Side) -> str:
    return "mean {} against {}".format(*("unknown" if x.mean is None else f"{x.mean:.3f}" for x in (one, other)))

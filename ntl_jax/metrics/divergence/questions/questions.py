# SPDX-License-Identifier: Apache-2.0
"""The questions: pure functions from divergent tokens to small tables.

Which tokens diverge most; where in the response; in which iterations; in correct or incorrect answers; digits or
others; which side was sure; whether old weights sampled them.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ntl_jax.metrics.divergence.questions.token import DivergentToken
from ntl_jax.metrics.divergence.token_classes import FLIPS
from ntl_jax.numerals.kinds import KINDS

UNKNOWN = "unknown"
"""Name of the group of those tokens of which a line does not say what is asked."""
THIRDS = ("beginning", "middle", "end")
ANSWERS = ("correct", "incorrect")
DIGITS = ("digits", "others")

AGES = ("age 0", "older")
DISTANCES = (0, 1, 4, 16, 64, 256)
"""Smallest distance of each group: fine at the ends of a response, where a format begins and ends."""
MOST_GROUPS = 10
"""Of iterations: more would fill the terminal."""


class Group(NamedTuple):
    """Tokens that have something in common.

    Args:
        name: what they have in common.
        tokens: how many they are.
        share: of all tokens.
        mean: of their divergences; None if none is known.
        largest: of their divergences.
    """

    name: str
    tokens: int
    share: float
    mean: float | None
    largest: float | None


class Table(NamedTuple):
    """The answer to a question."""

    question: str
    groups: tuple[Group, ...]


def most_divergent(tokens: Iterable[DivergentToken], top: int) -> list[DivergentToken]:
    """The tokens of the largest divergences; those without one, whose log-probs were not finite, come first.

    Example:
        >>> tokens = [DivergentToken(0.8, position=1), DivergentToken(0.9, position=2)]
        >>> [token.position for token in most_divergent(tokens, top=1)]
        [2]
    """
    return sorted(tokens, key=lambda x: -math.inf if x.divergence is None else -x.divergence)[:top]


def ask(tokens: Sequence[DivergentToken], top: int) -> dict[str, Table]:
    """The tables by name, in the order of reading; those about which no line says anything are left out.

    Args:
        tokens: of a log.
        top: rows of the table of tokens.

    Example:
        >>> tables = ask([DivergentToken(0.8, 1, is_correct=True), DivergentToken(0.6, 2, is_correct=False)], top=5)
        >>> list(tables)
        ['by_distance_from_start', 'by_answer']
        >>> tables["by_answer"].groups[0]
        Group(name='correct', tokens=1, share=0.5, mean=0.8, largest=0.8)
    """
    tables = {
        "by_token": Table("Which tokens", tuple(_frequent(tokens, lambda x: x.shown)[:top])),
        "by_place": _table("Where in the response", tokens, _third, THIRDS),
        "by_distance_from_start": _table("Tokens from the start", tokens, lambda x: _distance(x.position), _DISTANCES),
        "by_distance_from_end": _table("Tokens from the end", tokens, lambda x: _distance(x.from_end), _DISTANCES),
        "by_iteration": Table("In which iterations", tuple(by_iteration(tokens))),
        "by_answer": _table("In which answers", tokens, lambda x: _choose(ANSWERS, x.is_correct), ANSWERS),
        "by_digit": _table("Digits or others", tokens, lambda x: _choose(DIGITS, x.is_digit), DIGITS),
        "by_digit_and_answer": _table("Digits in which answers", tokens, _digit_and_answer, _BOTH),
        "by_kind": _table("Which kind of token", tokens, lambda x: x.kind, KINDS),
        "by_flip": _table("Which side was sure", tokens, lambda x: x.flip, FLIPS),
        "by_age": _table("Age of the weights", tokens, _age, AGES),
    }
    return {name: table for name, table in tables.items() if any(x.name != UNKNOWN for x in table.groups)}


def group_by(
    tokens: Sequence[DivergentToken], name_of: Callable[[DivergentToken], str | None], order: Sequence[str]
) -> list[Group]:
    """Groups of tokens, those of ``order`` first, then others by name, then the unknown ones.

    Args:
        tokens: any.
        name_of: the name of a token's group; None: unknown.
        order: names, of which those without tokens are left out.

    Example:
        >>> [group.name for group in group_by([DivergentToken(0.8, 1)], lambda token: None, ())]
        ['unknown']
    """
    members: dict[str, list[DivergentToken]] = defaultdict(list)
    for token in tokens:
        members[name_of(token) or UNKNOWN].append(token)
    names = [name for name in order if name in members]
    names += sorted(members.keys() - {*names, UNKNOWN})
    names += [UNKNOWN] if UNKNOWN in members and UNKNOWN not in names else []
    return [_group(name, members[name], len(tokens)) for name in names]


def by_iteration(tokens: Sequence[DivergentToken], most: int = MOST_GROUPS) -> list[Group]:
    """Groups of consecutive iterations, so wide that there are at most ``most``; the unknown ones come last.

    Example:
        >>> tokens = [DivergentToken(0.8, 1, iteration=i) for i in (0, 1, 5)]
        >>> [(group.name, group.tokens) for group in by_iteration(tokens, most=3)]
        [('0-1', 2), ('4-5', 1)]
    """
    known = [token.iteration for token in tokens if token.iteration is not None]
    if not known:
        return group_by(tokens, lambda token: None, ())
    first, width = min(known), -(-(max(known) - min(known) + 1) // most)

    def name_of(token: DivergentToken) -> str | None:
        if token.iteration is None:
            return None
        start = first + (token.iteration - first) // width * width
        return str(start) if width == 1 else f"{start}-{start + width - 1}"

    order = dict.fromkeys(name_of(token) or UNKNOWN for token in sorted(tokens, key=lambda x: x.iteration or 0))
    return group_by(tokens, name_of, [name for name in order if name != UNKNOWN])


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are known; None if none is.

    Example:
        >>> mean([1.0, 2.0, None]), mean([])
        (1.5, None)
    """
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


_DISTANCES = (
    *(str(low) if high == low + 1 else f"{low}-{high - 1}" for low, high in itertools.pairwise(DISTANCES)),
    f"{DISTANCES[-1]} or more",
)
_BOTH = tuple(f"{digit}, {answer}" for digit in DIGITS for answer in ANSWERS)


def _table(
    question: str,
    tokens: Sequence[DivergentToken],
    name_of: Callable[[DivergentToken], str | None],
    order: Sequence[str],
) -> Table:
    return Table(question, tuple(group_by(tokens, name_of, order)))


def _frequent(tokens: Sequence[DivergentToken], name_of: Callable[[DivergentToken], str | None]) -> list[Group]:
    return sorted(group_by(tokens, name_of, ()), key=lambda group: (-group.tokens, group.name))


def _group(name: str, members: Sequence[DivergentToken], total: int) -> Group:
    known = [token.divergence for token in members if token.divergence is not None]
    return Group(name, len(members), len(members) / total, mean(known), max(known, default=None))


def _choose(names: Sequence[str], truth: bool | None) -> str | None:
    return None if truth is None else names[0] if truth else names[1]


def _third(token: DivergentToken) -> str | None:
    if not token.length:
        return None
    return THIRDS[min(3 * token.position // token.length, 2)]


def _distance(distance: int | None) -> str | None:
    if distance is None:
        return None
    return _DISTANCES[sum(low <= distance for low in DISTANCES) - 1]


def _digit_and_answer(token: DivergentToken) -> str | None:
    digit, answer = _choose(DIGITS, token.is_digit), _choose(ANSWERS, token.is_correct)
    return None if digit is None or answer is None else f"{digit}, {answer}"


def _age(token: DivergentToken) -> str | None:
    return _choose(AGES, None if token.staleness is None else token.staleness == 0)

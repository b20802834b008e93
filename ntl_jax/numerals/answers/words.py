# SPDX-License-Identifier: Apache-2.0
"""The English words beside a number that make it another one, or tie it to a second one, for ``reader.py``."""

JOINING_WORDS = frozenset(
    ["and", "or", "to", "of", "by", "plus", "minus", "times", "over", "less", "divided", "multiplied", "remainder", "r"]
)
"""Words between two numbers that belong together."""
PREPOSITIONS = frozenset(
    ["in", "for", "per", "each", "every", "at", "on", "after", "with", "from", "is", "are", "so", "since", "because"]
)
"""Words right behind a number, with another number behind them that does not belong to it."""
LARGER_MEASURES = frozenset(
    ["feet", "foot", "ft", "hour", "hours", "h", "hr", "hrs", "pounds", "lb", "lbs", "minutes", "min"]
)
"""Measures behind which a number of their parts may stand: ``5 feet 3 inches``."""
FUNCTIONS = frozenset(
    ["sqrt", "cbrt", "root", "log", "ln", "exp", "sin", "cos", "tan", "abs", "floor", "ceil", "round"]
)
"""Words that take the number behind them as argument."""
DOZENS = frozenset(["dozen", "dozens"])
"""``2 dozen`` is 24, or the answer 2 to a question for dozens; references have it both ways."""
PARTS = frozenset(["half", "halves", "third", "thirds", "quarter", "quarters"])
"""Words for a part of the number in front of them; ``12 quarters`` are coins."""
IN_FRONT_OF_PARTS = frozenset(["and", "a", "one"])
SPELLED = frozenset(
    [
        *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
        *("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"),
    ]
)
_SCALES = {
    "hundred": 100, "thousand": 10**3, "lakh": 10**5, "million": 10**6, "crore": 10**7, "billion": 10**9,
    "trillion": 10**12,
}  # fmt: skip


def scale_of(word: str) -> int | None:
    """What a word such as ``million`` or ``thousands`` multiplies the number in front of it by; None for other words.

    Example:
        >>> scale_of("thousands"), scale_of("apples")
        (1000, None)
    """
    return _SCALES.get(word.lower().removesuffix("s"))

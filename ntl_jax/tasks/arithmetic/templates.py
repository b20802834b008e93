# SPDX-License-Identifier: Apache-2.0
"""Templates of word problems: text and computation with open numbers, and how to fill in the numbers.

The question holds numbers as ``{a}``, ``{b}``, ...; the solution has one bracket per step, such as ``[c=a+b]``, which
names a result and is written out as ``12+7=<<12+7=19>>19``.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping

SMALLEST = 2
"""Smallest number in questions, and smallest unsigned result, so that plurals are always right."""

_STEP = re.compile(r"\[(?P<result>[a-z])=(?P<left>[a-z])(?P<op>[-+*/])(?P<right>[a-z]|\d+)\]")


@dataclasses.dataclass(frozen=True)
class Template:
    """A question and its solution with open numbers.

    Args:
        tier: number of reasoning steps.
        question: text with ``{name}``, ``{other}``, ``{items}`` and numbers ``{a}``, ``{b}``, ...
        solution: text with the steps in brackets; the last step's result is the answer.
        small: letters of the numbers that stay below ten, so that products and divisions stay easy.
        signed: whether results may be zero or negative.

    Example:
        >>> template = Template(1, "{name} has {a} {items}, gets {b}.", "{name} has [c=a+b] {items}.")
        >>> template.write({"name": "Tom", "items": "pens"}, template.solve({"a": 12, "b": 7}, limit=99))
        ('Tom has 12 pens, gets 7.', 'Tom has 12+7=<<12+7=19>>19 pens.\\n#### 19', '19')
    """

    tier: int
    question: str
    solution: str
    small: str = ""
    signed: bool = False

    @functools.cached_property
    def numbers(self) -> tuple[str, ...]:
        """The letters of the question's numbers."""
        return tuple(re.findall(r"\{([a-z])\}", self.question))

    @functools.cached_property
    def steps(self) -> tuple[tuple[str, str, str, str], ...]:
        """The computation: (result, left operand, operator, right operand), in order."""
        return tuple(_STEP.findall(self.solution))

    @property
    def operations(self) -> set[str]:
        """The operators of the steps."""
        return {operator for _, _, operator, _ in self.steps}

    @functools.cached_property
    def _solution_format(self) -> str:
        def written_out(step: re.Match[str]) -> str:
            left, right = (f"{{{x}}}" if x.isalpha() else x for x in (step["left"], step["right"]))
            equation = f"{left}{step['op']}{right}="
            return f"{equation}<<{equation}{{{step['result']}}}>>{{{step['result']}}}"

        return _STEP.sub(written_out, self.solution) + f"\n#### {{{self.steps[-1][0]}}}"

    def solve(self, numbers: Mapping[str, int], *, limit: int) -> dict[str, int] | None:
        """All numbers and the results of the steps; None if a division has a remainder or a result is out of range.

        Args:
            numbers: a value for every letter of ``self.numbers``.
            limit: largest allowed result.
        """
        values = dict(numbers)
        for result, left, op, right in self.steps:
            x, y = values[left], values[right] if right.isalpha() else int(right)
            if op == "/" and x % y:
                return None
            value = x + y if op == "+" else x - y if op == "-" else x * y if op == "*" else x // y
            if value > limit or (value < SMALLEST and not self.signed):
                return None
            values[result] = value
        return values

    def write(self, words: Mapping[str, str], values: Mapping[str, int]) -> tuple[str, str, str]:
        """The question, solution and answer as text.

        Args:
            words: ``name``, ``other`` and ``items``.
            values: result of ``solve``.
        """
        fields = {**words, **values}
        return (
            self.question.format_map(fields),
            self._solution_format.format_map(fields),
            str(values[self.steps[-1][0]]),
        )

# SPDX-License-Identifier: Apache-2.0
"""All answers about a log: the most divergent tokens, a table for each question, the test, the diagnosis."""

import dataclasses
from collections.abc import Mapping, Sequence

from ntl_jax.metrics.divergence.questions.counts import count
from ntl_jax.metrics.divergence.questions.diagnosis import Finding, diagnose
from ntl_jax.metrics.divergence.questions.questions import Table, ask, most_divergent
from ntl_jax.metrics.divergence.questions.token import DivergentToken
from ntl_jax.metrics.divergence.questions.welch import Welch, digits_against_others


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a log says.

    Args:
        tokens: of the log.
        top: the most divergent of them.
        tables: by name, of `ask`.
        welch: the test of digits against others; None: there is none.
        findings: the diagnosis.

    Example: see `answer`.
    """

    tokens: Sequence[DivergentToken]
    top: Sequence[DivergentToken]
    tables: Mapping[str, Table]
    welch: Welch | None
    findings: Sequence[Finding]

    def as_row(self) -> dict[str, object]:
        """The answers as JSON has them, without the tokens that are not on top."""
        tables = {name: [group._asdict() for group in table.groups] for name, table in self.tables.items()}
        return {
            "lines": len(self.tokens),
            "most_divergent": [dataclasses.asdict(token) for token in self.top],
            **tables,
            "welch": None if self.welch is None else self.welch._asdict(),
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
        }


def answer(tokens: Sequence[DivergentToken], top: int) -> Answers:
    """Asks all questions.

    Args:
        tokens: of a log.
        top: how many tokens the tables of tokens show.

    Example:
        >>> answers = answer([DivergentToken(0.8, 1, is_correct=True), DivergentToken(0.9, 2, is_correct=False)], top=1)
        >>> answers.top[0].position, list(answers.tables), answers.findings[0].name
        (2, ['by_distance_from_start', 'by_answer'], 'few_tokens')
    """
    welch = digits_against_others(tokens)
    return Answers(tokens, most_divergent(tokens, top), ask(tokens, top), welch, diagnose(count(tokens, welch)))

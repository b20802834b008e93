# SPDX-License-Identifier: Apache-2.0
"""A divergent token: what the questions need of a line of the log.

Lines of programs that write fewer keys are read too; what they leave out is worked out from the rest, or unknown.
"""

import dataclasses
import math
from collections.abc import Mapping

from ntl_jax.metrics.divergence.token_classes import flip_type, is_number

REQUIRED = ("prob_divergence", "position")
"""Keys without which a line is none of a divergence log."""
LARGEST = 2**53
"""Integers beyond this are no positions or iterations; floats, which a page is drawn with, do not hold them."""


@dataclasses.dataclass(frozen=True)
class DivergentToken:
    """One line of the log. None: unknown.

    Args:
        divergence: |rollout_prob - actor_prob|; None if a log-prob was not finite.
        position: in the response, from 0.
        length: tokens of the response.
        from_end: tokens after this one.
        iteration: in which sampler and trainer were compared.
        token_id: id of the token.
        text: raw text of the token.
        context: text around it.
        rollout_prob, actor_prob: probability for the sampler, for the trainer.
        is_correct: whether the response's answer is right.
        is_digit: whether the token is a digit.
        flip: as `flip_type` says.
        kind: kind of the token, such as ``answer_digits``.
        staleness: age of the weights that sampled it, in iterations.

    Example:
        >>> DivergentToken(divergence=0.9, position=3, text="7").shown
        "'7'"
    """

    divergence: float | None
    position: int
    length: int | None = None
    from_end: int | None = None
    iteration: int | None = None
    token_id: int | None = None
    text: str | None = None
    context: str | None = None
    rollout_prob: float | None = None
    actor_prob: float | None = None
    is_correct: bool | None = None
    is_digit: bool | None = None
    flip: str | None = None
    kind: str | None = None
    staleness: int | None = None

    @property
    def shown(self) -> str | None:
        """The text in quotes, else the id."""
        if self.text is not None:
            return repr(self.text)
        return None if self.token_id is None else f"id {self.token_id}"


def read_token(line: Mapping[str, object]) -> DivergentToken:
    """Checks a line of the log and takes what the questions need.

    Args:
        line: the JSON object, with at least the keys of `REQUIRED`.

    Raises:
        ValueError: if a key holds what it cannot hold.

    Example:
        >>> token = read_token({"prob_divergence": 0.9, "position": 3, "sequence_length": 8, "token_text": "7"})
        >>> token.from_end, token.is_digit, token.is_correct
        (4, True, None)
    """
    position, length = _integer(line, "position"), _integer(line, "sequence_length")
    if position is None:
        raise ValueError("position is null: must be a whole number of at least 0")
    from_end = _integer(line, "position_from_end")
    if from_end is None and length is not None:
        from_end = max(0, length - 1 - position)
    text, is_digit = _text(line, "token_text"), _truth(line, "is_digit")
    rollout_prob, actor_prob = _probability(line, "rollout_prob"), _probability(line, "actor_prob")
    return DivergentToken(
        divergence=_probability(line, "prob_divergence"),
        position=position,
        length=length,
        from_end=from_end,
        iteration=_integer(line, "iteration"),
        token_id=_integer(line, "token_id"),
        text=text,
        context=_text(line, "context_text"),
        rollout_prob=rollout_prob,
        actor_prob=actor_prob,
        is_correct=_truth(line, "is_correct"),
        is_digit=is_number(text) if is_digit is None and text is not None else is_digit,
        flip=_text(line, "flip_type") or flip_type(rollout_prob, actor_prob),
        kind=_text(line, "token_kind"),
        staleness=_integer(line, "staleness"),
    )


def _value(line: Mapping[str, object], key: str) -> object:
    """The key's value; None for NaN, which JSON does not have, but some programs write."""
    value = line.get(key)
    return None if isinstance(value, float) and math.isnan(value) else value


def _integer(line: Mapping[str, object], key: str) -> int | None:
    value = _value(line, key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # as programs write integers that stand beside nulls
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LARGEST:
        raise ValueError(f"{key} is {_short(value)}: must be a whole number of at least 0, or null")
    return value


def _probability(line: Mapping[str, object], key: str) -> float | None:
    value = _value(line, key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1.001:  # with rounding errors
        raise ValueError(f"{key} is {_short(value)}: must be a number from 0 to 1, or null")
    return float(value)


def _truth(line: Mapping[str, object], key: str) -> bool | None:
    value = _value(line, key)
    if value is None:
        return None
    if value not in (False, True):  # 0 and 1 are equal to these
        raise ValueError(f"{key} is {_short(value)}: must be true, false or null")
    return bool(value)


def _text(line: Mapping[str, object], key: str) -> str | None:
    value = _value(line, key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} is {_short(value)}: must be a text or null")
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."

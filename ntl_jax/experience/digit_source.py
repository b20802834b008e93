# SPDX-License-Identifier: Apache-2.0
"""From sampled responses to their NTL record, by the first way that there is, and what to do where there is none.

The ways: the digits' log-probs that the engine captured; the trainer's own pass; the sampled tokens' log-probs alone.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ntl_jax.config import NTLSection
from ntl_jax.experience.digit_pass import PolicyPass
from ntl_jax.experience.ntl_record import blank_labels, build_ntl_info, confidence_ntl_info, number_ntl_info
from ntl_jax.models import Decoder
from ntl_jax.numerals import DigitLabels, NumberTable
from ntl_jax.records import NTLInfo, Trajectory

LOGGER = logging.getLogger("ntl")


class ExtractionError(ValueError):
    """The NTL record of a sample cannot be built, and ``ntl.fallback_on_error`` is off."""


def captures_digits(section: NTLSection, table: NumberTable) -> bool:
    """Whether the engine should capture the digits' log-probs."""
    return section.enabled and section.extract_during_generation and table.kind == "digits"


class Extractor:
    """Builds the NTL record of a batch.

    Args:
        section: the ``ntl`` section.
        kind: of the policy's number tokens.
        policy_pass: the trainer's own pass, for ``extract_during_log_prob``.

    Raises:
        ValueError: for tokens of several digits, which no engine captures, with ``extract_during_generation`` alone.
    """

    def __init__(self, section: NTLSection, kind: str, policy_pass: PolicyPass | None):
        if kind == "numbers" and section.extract_during_generation and not section.extract_during_log_prob:
            raise ValueError(
                "this tokenizer writes several digits as one token, whose log-probs engines do not capture: set "
                "ntl.extract_during_log_prob=true, or ntl.extract_during_generation=false for the confidence alone"
            )
        self._section, self._kind = section, kind
        self._pass = policy_pass if section.extract_during_log_prob else None

    def __call__(
        self,
        trajectories: Sequence[Trajectory],
        labels: Sequence[DigitLabels],
        texts: Sequence[str],
        decoder: Decoder | None,
        temperature: float,
    ) -> tuple[NTLInfo, dict[int, str]]:
        """The record; and for the rows that have none, which are blank in it, the reason.

        Args:
            trajectories, labels, texts: of the responses.
            decoder: the policy that sampled, for the trainer's own pass.
            temperature: that it sampled with; for greedy samples 1.

        Raises:
            ExtractionError: a row has none, and ``fallback_on_error`` is off.
        """
        material, build = self._material(trajectories, labels, texts, decoder, temperature)
        reasons = {i: why for i, label in enumerate(labels) if (why := self._why_not(material[i], label))}
        if reasons:
            self._report(reasons, trajectories)
            labels = [blank_labels(len(x.digits)) if i in reasons else x for i, x in enumerate(labels)]
        return build(labels), reasons

    def _material(
        self, trajectories, labels, texts, decoder: Decoder | None, temperature: float
    ) -> tuple[Sequence[Any], Callable[[Sequence[DigitLabels]], NTLInfo]]:
        """What each row's record is made of, None where it lacks that, and how to build the records from labels."""
        section, method = self._section, self._section.method
        captured = [t.digit_log_probs for t in trajectories]
        if section.extract_during_generation and (self._pass is None or all(x is not None for x in captured)):
            filled = [
                np.zeros((len(t.response_ids), 10), np.float32) if x is None else x
                for x, t in zip(captured, trajectories, strict=True)
            ]
            return captured, lambda labels: build_ntl_info(filled, labels, texts, method=method)
        rollout = [t.rollout_log_probs for t in trajectories]
        if self._pass is None:
            return rollout, lambda labels: confidence_ntl_info(rollout, labels, texts)
        assert decoder is not None, "the trainer's own pass needs the policy"
        if self._kind == "digits":
            rows = self._pass.digit_log_probs(decoder, trajectories, temperature)
            return rows, lambda labels: build_ntl_info(rows, labels, texts, method=method)
        readings = self._pass.readings(decoder, trajectories, labels, temperature)
        top = [row.top_probability for row in readings]
        return top, lambda labels: number_ntl_info(readings, rollout, labels, texts, method=method)

    def _report(self, reasons: dict[int, str], trajectories: Sequence[Trajectory]) -> None:
        row, why = next(iter(reasons.items()))
        first = f"{why} (prompt {trajectories[row].prompt_index}, sample {trajectories[row].sample_index})"
        if not self._section.fallback_on_error:
            raise ExtractionError(
                f"{len(reasons)} of {len(trajectories)} samples have no NTL record, the first because {first}; "
                "with ntl.fallback_on_error=true they would be scored by exact match"
            )
        LOGGER.warning("%d of %d samples are scored by exact match: %s", len(reasons), len(trajectories), first)

    def _why_not(self, material: Any, label: DigitLabels) -> str | None:
        """Why a row has no record."""
        is_digit = label.digits >= 0
        if self._section.require_digits and not is_digit.any():
            return "the response holds no digit"
        if material is None:
            return "the engine captured no log-probs of digits"
        if np.isnan(material[is_digit]).any():
            return "the log-probs at its digits are NaN"
        return None

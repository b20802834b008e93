# SPDX-License-Identifier: Apache-2.0
"""The source of digit log-probs: the engine that sampled, or the trainer's own forward pass.

Scoring finds them in the trajectories, whatever the source.
"""

import dataclasses
from collections.abc import Callable, Sequence

from ntl_jax.config import NTLSection
from ntl_jax.experience.digits.forward_pass import DigitPass
from ntl_jax.numerals import DigitLabels, NumberTable
from ntl_jax.records import Params, Prompt, Trajectory

Label = Callable[[Sequence[Prompt], Sequence[Trajectory]], Sequence[DigitLabels]]
"""The labels of responses, one prompt per response."""


def captures_digits(section: NTLSection, table: NumberTable) -> bool:
    """Whether the engine should capture the digits' log-probs."""
    return section.enabled and section.extract_during_generation and table.kind == "digits"


class DigitSource:
    """Fills in digit log-probs that the engine did not capture.

    Args:
        section: the ``ntl`` section.
        table: the policy's number tokens.
        digit_pass: the trainer's own pass, for ``extract_during_log_prob``.
        label: labels responses; readings of multi-digit tokens depend on the true number.

    Raises:
        ValueError: for multi-digit tokens, which no engine captures, with only ``extract_during_generation``.
    """

    def __init__(self, section: NTLSection, table: NumberTable, digit_pass: DigitPass, label: Label):
        if table.kind == "numbers" and section.extract_during_generation and not section.extract_during_log_prob:
            raise ValueError(
                "this tokenizer writes several digits as one token, whose log-probs engines do not capture: set "
                "ntl.extract_during_log_prob=true, or ntl.extract_during_generation=false for the confidence alone"
            )
        self._trusts_engine = captures_digits(section, table)
        self._kind, self._pass, self._label = table.kind, digit_pass, label
        self._runs = section.enabled and section.extract_during_log_prob
        self.passes = self._runs and not self._trusts_engine
        """Whether digits always come from the trainer's forward pass."""

    def __call__(
        self, policy: Params, prompts: Sequence[Prompt], trajectories: Sequence[Trajectory], temperature: float
    ) -> Sequence[Trajectory]:
        """The trajectories with digit log-probs at every position, if the settings ask for them.

        Args:
            policy: the parameters that sampled.
            prompts: one per trajectory.
            trajectories: what was sampled.
            temperature: temperature of sampling; 1 for greedy samples.
        """
        if not self._runs or (self._trusts_engine and all(t.digit_log_probs is not None for t in trajectories)):
            return trajectories
        if self._kind == "digits":
            rows = self._pass.digit_log_probs(policy, trajectories, temperature)
            return [dataclasses.replace(t, digit_log_probs=x) for t, x in zip(trajectories, rows, strict=True)]
        readings = self._pass.readings(policy, trajectories, self._label(prompts, trajectories), temperature)
        return [dataclasses.replace(t, number_readings=x) for t, x in zip(trajectories, readings, strict=True)]

# SPDX-License-Identifier: Apache-2.0
"""Where the probabilities of digits come from: the engine that sampled, or the trainer's own pass.

Scoring finds them in the trajectories, whatever their source.
"""

import dataclasses
from collections.abc import Callable, Sequence

from ntl_jax.config import NTLSection
from ntl_jax.experience.digits.forward_pass import DigitPass
from ntl_jax.numerals import DigitLabels, NumberTable
from ntl_jax.records import Params, Prompt, Trajectory

Label = Callable[[Sequence[Prompt], Sequence[Trajectory]], Sequence[DigitLabels]]
"""The labels of responses, one prompt a response."""


def captures_digits(section: NTLSection, table: NumberTable) -> bool:
    """Whether the engine should capture the digits' log-probs."""
    return section.enabled and section.extract_during_generation and table.kind == "digits"


class DigitSource:
    """Fills in what the engine did not capture.

    Args:
        section: the ``ntl`` section.
        table: the policy's number tokens.
        digit_pass: the trainer's own pass, for ``extract_during_log_prob``.
        label: of responses; what tokens of several digits say depends on the true number.

    Raises:
        ValueError: for tokens of several digits, which no engine captures, with ``extract_during_generation`` alone.
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

    def __call__(
        self, policy: Params, prompts: Sequence[Prompt], trajectories: Sequence[Trajectory], temperature: float
    ) -> Sequence[Trajectory]:
        """The trajectories with the probabilities of digits at every position, where the settings ask for them.

        Args:
            policy: the parameters that sampled.
            prompts: one a trajectory.
            trajectories: what was sampled.
            temperature: that it was sampled with; for greedy samples 1.
        """
        if not self._runs or (self._trusts_engine and all(t.digit_log_probs is not None for t in trajectories)):
            return trajectories
        if self._kind == "digits":
            rows = self._pass.digit_log_probs(policy, trajectories, temperature)
            return [dataclasses.replace(t, digit_log_probs=x) for t, x in zip(trajectories, rows, strict=True)]
        readings = self._pass.readings(policy, trajectories, self._label(prompts, trajectories), temperature)
        return [dataclasses.replace(t, number_readings=x) for t, x in zip(trajectories, readings, strict=True)]

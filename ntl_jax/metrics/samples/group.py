# SPDX-License-Identifier: Apache-2.0
"""The samples of one prompt as the log of samples holds them: one JSON object, with one entry per token."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from ntl_jax.metrics.atomic_files import as_plain

DECIMALS = 4
"""Of log-probs, probabilities and advantages; single numbers have two more."""


@dataclasses.dataclass(frozen=True, eq=False)
class LoggedSample:
    """One scored response.

    Args:
        sample_index: number of the sample among those of its prompt.
        response: its text.
        finish_reason: ``stop``, ``length`` or ``lost``.
        reward: None: it has none; ``error`` says why.
        error: why it has no reward.
        reward_metrics: the other keys that the reward function returned.
        answer: the answer's text; None: no answer was found.
        is_correct: whether the answer is right.
        ntl_loss: its Number Token Loss; None without NTL, not finite without digits that have a true value.
        token_ids: ids of the response's tokens.
        token_starts: first character of each token in ``response``.
        log_probs: the sampler's log-probs, nats.
        entropy: of the sampler's distribution at each token, nats; None: it was not captured.
        actor_log_probs, actor_entropy: the trainer's, before the iteration's updates; None: it did not compute them.
        advantages: of the tokens, before any correction for off-policy samples.
        versions: start, stop and iteration of the weights that sampled the tokens ``[start, stop)``.
        digit_positions: positions of the tokens that are digits.
        digit_truth: the digit that should stand there, -1 for none; None without NTL.
        digit_probabilities: of 0 to 9 there, over the full vocabulary; None: they were not captured.

    Example: see `LoggedGroup`.
    """

    sample_index: int
    response: str
    finish_reason: str
    reward: float | None
    error: str | None
    reward_metrics: Mapping[str, float]
    answer: str | None
    is_correct: bool
    ntl_loss: float | None
    token_ids: Int[np.ndarray, "T"]
    token_starts: Int[np.ndarray, "T"]
    log_probs: Float[np.ndarray, "T"]
    entropy: Float[np.ndarray, "T"] | None
    actor_log_probs: Float[np.ndarray, "T"] | None
    actor_entropy: Float[np.ndarray, "T"] | None
    advantages: Float[np.ndarray, "T"]
    versions: Sequence[tuple[int, int, int]]
    digit_positions: Int[np.ndarray, "digits"]
    digit_truth: Int[np.ndarray, "digits"] | None
    digit_probabilities: Float[np.ndarray, "digits 10"] | None

    def as_row(self) -> dict[str, object]:
        """The sample as JSON has it: arrays have four decimals, numbers six, and what is not finite is null."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        truth = None if self.digit_truth is None else [None if d < 0 else d for d in self.digit_truth.tolist()]
        return {name: as_plain(_rounded(value)) for name, value in fields.items()} | {"digit_truth": truth}


@dataclasses.dataclass(frozen=True, eq=False)
class LoggedGroup:
    """A prompt and its samples.

    Args:
        prompt_index: row of the training data.
        draw: which time of asking the data's prompts this is.
        prompt: the prompt's text.
        ground_truth: the true answer.
        samples: of the prompt.

    Example:
        >>> sample = LoggedSample(
        ...     0, "#### 6", "stop", 0.3, None, {}, "6", False, 0.5625, np.array([20, 6]), np.array([0, 5]),
        ...     np.array([-0.1, -0.61236]), None, None, None, np.array([-1.0, -1.0]), [(0, 2, 3)], np.array([1]),
        ...     np.array([5]), None)
        >>> row = LoggedGroup(7, 7, "2+3?", "5", [sample]).as_row("ppo", 4)
        >>> row["step"], row["samples"][0]["log_probs"], row["samples"][0]["digit_truth"]
        (4, [-0.1, -0.6124], [5])
    """

    prompt_index: int
    draw: int
    prompt: str
    ground_truth: str
    samples: Sequence[LoggedSample]

    def as_row(self, stage: str, step: int) -> dict[str, object]:
        """The group of this step as JSON has it."""
        own = {name: getattr(self, name) for name in ("prompt_index", "draw", "prompt", "ground_truth")}
        return {"stage": stage, "step": step, **own, "samples": [sample.as_row() for sample in self.samples]}


def _rounded(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating):
        return value.astype(np.float64).round(DECIMALS)
    return round(value, DECIMALS + 2) if isinstance(value, float) else value

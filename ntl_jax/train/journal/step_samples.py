# SPDX-License-Identifier: Apache-2.0
"""The samples of one iteration, and which of them are logged."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ntl_jax.experience.scored import Scored
from ntl_jax.metrics.samples.group import LoggedGroup, LoggedSample
from ntl_jax.numerals.kinds import KINDS

KINDS_OF_DIGITS = [KINDS.index("answer_digits"), KINDS.index("digits")]


class ActorReadings(NamedTuple):
    """What the trainer computed about the samples of an iteration, before its updates; NaN where it computed nothing.

    Args:
        log_probs: of the tokens, nats.
        entropy: of the distribution at each token, nats.
    """

    log_probs: Float[np.ndarray, "B T"]
    entropy: Float[np.ndarray, "B T"]

    @property
    def num_known(self) -> Int[np.ndarray, "B"]:
        """How many of the two are known of each sample."""
        return np.sum([np.isfinite(x).any(axis=1) for x in self], axis=0)


class StepSamples(NamedTuple):
    """The samples of an iteration.

    Args:
        scored: with their rewards.
        advantages: of their tokens, padded.
        actor: what the trainer computed about some of them; None: nothing.
    """

    scored: Scored
    advantages: Float[np.ndarray, "B T"]
    actor: ActorReadings | None = None

    def groups(self) -> list[range]:
        """The rows of each prompt."""
        draws = np.array([trajectory.draw for trajectory in self.scored.trajectories])
        starts = [0, *(np.flatnonzero(np.diff(draws)) + 1).tolist()]
        return [range(*ends) for ends in zip(starts, [*starts[1:], len(draws)], strict=True)]

    def logged(self, num_prompts: int | Literal["all"]) -> list[range]:
        """The rows of the prompts that are logged: first those about which the trainer computed most.

        Args:
            num_prompts: how many; ``all``: every prompt.
        """
        groups = self.groups()
        if num_prompts == "all":
            return groups
        known = np.zeros(len(self.advantages)) if self.actor is None else self.actor.num_known
        order = sorted(range(len(groups)), key=lambda group: -known[groups[group]].sum())
        return [groups[group] for group in sorted(order[:num_prompts])]


def logged_groups(samples: StepSamples, groups: Sequence[range]) -> list[LoggedGroup]:
    """Prompts and their samples for the log.

    Args:
        samples: of the iteration.
        groups: rows of each prompt.
    """
    prompts, trajectories = samples.scored.prompts, samples.scored.trajectories
    return [
        LoggedGroup(
            prompt_index=prompts[rows[0]].index,
            draw=trajectories[rows[0]].draw,
            prompt=prompts[rows[0]].text,
            ground_truth=prompts[rows[0]].ground_truth,
            samples=[_logged_sample(samples, row) for row in rows],
        )
        for rows in groups
    ]


def _logged_sample(samples: StepSamples, row: int) -> LoggedSample:
    scored = samples.scored
    trajectory, reading, outcome = scored.trajectories[row], scored.readings[row], scored.outcomes[row]
    info, size = scored.ntl_info, len(trajectory.response_ids)
    log_probs, entropy = (_known(x, row, size) for x in samples.actor) if samples.actor else (None, None)
    positions = np.flatnonzero(np.isin(reading.kinds, KINDS_OF_DIGITS))
    digits = trajectory.digit_log_probs
    if info is not None and info.digit_log_probs is not None:
        digits = info.digit_log_probs[row]
    return LoggedSample(
        sample_index=trajectory.sample_index,
        response=reading.text,
        finish_reason=trajectory.finish_reason,
        reward=float(outcome.score) if outcome.valid else None,
        error=outcome.error,
        reward_metrics=outcome.metrics,
        answer=None if reading.answer is None else reading.answer.text,
        is_correct=bool(reading.exact_match),
        ntl_loss=None if info is None else float(info.ntl_loss[row]),
        token_ids=trajectory.response_ids,
        token_starts=reading.starts,
        log_probs=trajectory.rollout_log_probs,
        entropy=trajectory.entropy,
        actor_log_probs=log_probs,
        actor_entropy=entropy,
        advantages=samples.advantages[row, :size],
        versions=[(span.start, span.stop, span.version.iteration + 1) for span in trajectory.versions],
        digit_positions=positions,
        digit_truth=None if reading.labels is None else reading.labels.truth[positions],
        digit_probabilities=None if digits is None else np.exp(digits[positions]),
    )


def _known(values: Float[np.ndarray, "B T"], row: int, size: int) -> Float[np.ndarray, "T"] | None:
    """The values of a sample's tokens; None: there are none."""
    of_row = values[row, :size]
    return of_row if np.isfinite(of_row).any() else None

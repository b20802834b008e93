# SPDX-License-Identifier: Apache-2.0
"""What a run knows about a response, for the divergence log."""

import numpy as np

from ntl_jax.experience.scored import Scored
from ntl_jax.metrics.divergence.lines import LoggedResponse
from ntl_jax.records import Experience, Trajectory


def logged_response(scored: Scored, experience: Experience, row: int) -> LoggedResponse:
    """The response of a row of an iteration's samples.

    Args:
        scored: the samples.
        experience: their experience, unpacked.
        row: counts from 0.
    """
    trajectory, prompt, reading = scored.trajectories[row], scored.prompts[row], scored.readings[row]
    size = len(trajectory.response_ids)
    ids, log_probs = trajectory.alternative_ids, trajectory.alternative_log_probs
    scores = np.zeros(size, np.float32)
    scores[-1:] = scored.outcomes[row].score if scored.outcomes[row].valid else np.nan
    return LoggedResponse(
        ids=trajectory.response_ids,
        mask=np.ones(size, bool),
        prompt_ids=trajectory.prompt_ids,
        prompt_text=prompt.text,
        is_correct=reading.exact_match,
        scores=scores,
        advantages=np.asarray(experience.advantages)[row, :size],
        truth=None if reading.labels is None else reading.labels.truth,
        kinds=reading.kinds,
        rollout_entropy=trajectory.entropy,
        rollout_digits=trajectory.digit_log_probs,
        rollout_alternatives=None if ids is None or log_probs is None else (ids, log_probs),
        versions=token_versions(trajectory) + 1,  # iterations count from 1 in a run's files
    )


def token_versions(trajectory: Trajectory) -> np.ndarray:
    """The iteration of the weights that sampled each token.

    Example:
        >>> from ntl_jax.records import Version, VersionSpan
        >>> spans = (VersionSpan(0, 2, Version(3)), VersionSpan(2, 3, Version(4)))
        >>> ids, log_probs = np.arange(3), np.zeros(3, np.float32)
        >>> token_versions(Trajectory(0, 0, ids, ids, log_probs, None, "stop", versions=spans)).tolist()
        [3, 3, 4]
    """
    lengths = [span.stop - span.start for span in trajectory.versions]
    return np.repeat([span.version.iteration for span in trajectory.versions], lengths)

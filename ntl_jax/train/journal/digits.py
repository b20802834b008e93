# SPDX-License-Identifier: Apache-2.0
"""The NTL record of an iteration for people: a numpy file, and text for the logger ``ntl``."""

import pathlib
from collections.abc import Sequence

import numpy as np

from ntl_jax.experience.scored import Scored
from ntl_jax.experience.scorer import LOGGER
from ntl_jax.records import NTLInfo


def save_digit_info(scored: Scored, path: pathlib.Path) -> None:
    """Writes a compressed file: one entry per digit of all samples, or per sample in arrays named ``sample_*``.

    Args:
        scored: samples with an NTL record.
        path: ends in ``.npz``.

    Example: the true digits of the third sample
        >>> import numpy as np
        >>> def truths(path):
        ...     file = np.load(path)
        ...     return file["truth"][file["sample"] == 2]
    """
    info = scored.ntl_info
    assert info is not None
    sample, position = np.nonzero(info.is_digit)
    at = sample, position
    arrays = {
        "sample": sample.astype(np.int32),
        "position": position.astype(np.int32),
        "digit": info.digit_values[at],
        "truth": info.digit_ground_truth[at],
        "is_answer": info.is_answer[at],
        "surplus": info.surplus[at],
        "predicted": info.predicted[at],
        "log_prob": info.digit_log_probs_selected[at],
        "top_probability": info.top_probability[at],
        "truth_probability": info.truth_probability[at],
        "loss": info.digit_losses[at],
        "sample_prompt": np.array([prompt.index for prompt in scored.prompts]),
        "sample_ntl_loss": info.ntl_loss,
        "sample_missing_places": info.missing_places,
        "sample_reward": np.array([outcome.score for outcome in scored.outcomes], np.float32),
    }
    if info.digit_log_probs is not None:
        arrays["digit_log_probs"] = info.digit_log_probs[at].astype(np.float16)
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **arrays)


def log_samples(scored: Scored, rows: Sequence[int]) -> None:
    """Logs inputs and outputs of the reward function for some samples, digit by digit.

    Args:
        scored: samples with an NTL record.
        rows: indices of the samples to log.
    """
    for row in rows:
        prompt, outcome = scored.prompts[row], scored.outcomes[row]
        LOGGER.info(
            "prompt %d: %r\nresponse %r, true answer %r\n%s\nreward %s, tau %g, %s%s",
            prompt.index,
            prompt.text,
            scored.readings[row].text,
            prompt.ground_truth,
            "" if scored.ntl_info is None else _in_words(scored.ntl_info[row : row + 1]),
            outcome.score,
            scored.tau,
            dict(outcome.metrics) if outcome.valid else outcome.error,
            f", without a record: {scored.fallbacks[row]}" if row in scored.fallbacks else "",
        )


def _in_words(info: NTLInfo) -> str:
    """The record of one sample, one line per digit."""
    lines = [
        f"  position {t}: digit {info.digit_values[0, t]} of log-prob {info.digit_log_probs_selected[0, t]:.4f}, "
        f"truth {info.digit_ground_truth[0, t] if info.has_truth[0, t] else 'none'}"
        f"{' (answer)' if info.is_answer[0, t] else ''}{' (surplus)' if info.surplus[0, t] else ''}, "
        f"likeliest {info.predicted[0, t]} with {info.top_probability[0, t]:.4f}, loss {info.digit_losses[0, t]:.4f}"
        + _distribution(info, t)
        for t in info.digit_positions[0]
    ]
    total = f"  ntl_loss {info.ntl_loss[0]:.4f} ({info.method}), {info.missing_places[0]} places missing"
    return "\n".join([*lines, total])


def _distribution(info: NTLInfo, position: int) -> str:
    if info.digit_log_probs is None:
        return ""
    return ", of 0 to 9: " + " ".join(f"{p:.3f}" for p in np.exp(info.digit_log_probs[0, position]))

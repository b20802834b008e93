# SPDX-License-Identifier: Apache-2.0
"""Trajectories as a few flat arrays, for processes and checkpoints: values of all tokens one after the other."""

from collections.abc import Sequence
from typing import get_args

import numpy as np

from ntl_jax.records import FinishReason, Prompt, Trajectory, Version, VersionKind, VersionSpan

FINISH_REASONS, VERSION_KINDS = get_args(FinishReason), get_args(VersionKind)
CAPTURED = ("digit_log_probs", "entropy", "alternative_ids", "alternative_log_probs")
"""Values per token that a trajectory may lack."""

FlatTrajectories = dict[str, np.ndarray]
"""Arrays by name. Of N samples: ``sample_indices``, ``num_tokens``, ``num_spans``, ``finish_reasons`` [N]; of all their
tokens: ``response_ids``, ``rollout_log_probs`` and what was captured [tokens, ...]; ``spans`` [spans, 4]: start, stop,
iteration, kind of the version."""


def flatten(trajectories: Sequence[Trajectory]) -> FlatTrajectories:
    """The trajectories as an engine returns them, without their prompts, as arrays.

    Args:
        trajectories: samples of one Sampling, so that all have the same values captured.

    Raises:
        ValueError: if only some of them have a captured value.

    Example:
        >>> spans = (VersionSpan(0, 3, Version(3)),)
        >>> t = Trajectory(0, 1, np.array([7]), np.array([20, 6, 1]), np.zeros(3, np.float32), None, "stop", spans)
        >>> flat = flatten([t])
        >>> flat["num_tokens"].tolist(), flat["response_ids"].tolist(), flat["spans"].tolist()
        ([3], [20, 6, 1], [[0, 3, 3, 0]])
        >>> unflatten(flat, [Prompt(0, np.array([7]), "2+3?", "5")])[0].versions == spans
        True
    """
    spans = [(s.start, s.stop, s.version.iteration, s.version.kind) for t in trajectories for s in t.versions]
    flat = {
        "sample_indices": np.array([t.sample_index for t in trajectories], np.int32),
        "num_tokens": np.array([len(t.response_ids) for t in trajectories], np.int32),
        "num_spans": np.array([len(t.versions) for t in trajectories], np.int32),
        "finish_reasons": np.array([FINISH_REASONS.index(t.finish_reason) for t in trajectories], np.int8),
        "spans": np.array([(*span, VERSION_KINDS.index(kind)) for *span, kind in spans], np.int32).reshape(-1, 4),
        "response_ids": np.concatenate([t.response_ids for t in trajectories]).astype(np.int32),
        "rollout_log_probs": np.concatenate([t.rollout_log_probs for t in trajectories]),
    }
    captured = {name: [getattr(t, name) for t in trajectories] for name in CAPTURED}
    for name, values in captured.items():
        present = [np.asarray(value) for value in values if value is not None]
        if present and len(present) < len(values):
            raise ValueError(f"{name} is in {len(present)} of {len(values)} trajectories: it must be in all or none")
        if present:
            flat[name] = np.concatenate(present)
    return flat


def unflatten(flat: FlatTrajectories, prompts: Sequence[Prompt]) -> list[Trajectory]:
    """The trajectories of `flatten`, whose arrays are views of the flat ones.

    Args:
        flat: the arrays.
        prompts: one per trajectory.
    """
    tokens, spans = _slices(flat["num_tokens"]), _slices(flat["num_spans"])

    def captured(name: str, rows: slice) -> np.ndarray | None:
        return flat[name][rows] if name in flat else None

    trajectories = []
    for row, (prompt, of_tokens) in enumerate(zip(prompts, tokens, strict=True)):
        trajectories.append(
            Trajectory(
                prompt_index=prompt.index,
                sample_index=int(flat["sample_indices"][row]),
                prompt_ids=prompt.ids,
                response_ids=flat["response_ids"][of_tokens],
                rollout_log_probs=flat["rollout_log_probs"][of_tokens],
                finish_reason=FINISH_REASONS[flat["finish_reasons"][row]],
                versions=tuple(
                    VersionSpan(start, stop, Version(iteration, VERSION_KINDS[kind]))
                    for start, stop, iteration, kind in flat["spans"][spans[row]].tolist()
                ),
                draw=prompt.draw,
                digit_log_probs=captured("digit_log_probs", of_tokens),
                entropy=captured("entropy", of_tokens),
                alternative_ids=captured("alternative_ids", of_tokens),
                alternative_log_probs=captured("alternative_log_probs", of_tokens),
            )
        )
    return trajectories


def _slices(counts: np.ndarray) -> list[slice]:
    ends = np.cumsum(counts).tolist()
    return [slice(end - count, end) for end, count in zip(ends, counts.tolist(), strict=True)]

# SPDX-License-Identifier: Apache-2.0
"""Flat arrays and back: nothing of a trajectory is lost but its prompt, and nothing is copied on the way back."""

import dataclasses

import numpy as np
import pytest

from ntl_jax.records import Prompt, Trajectory, Version, VersionSpan
from ntl_jax.rollout.flat_trajectories import CAPTURED, flatten, unflatten

PROMPTS = [Prompt(i, np.arange(1 + i, dtype=np.int32), "text", "1", draw=70 + i) for i in range(5)]


def make(row: int, length: int, captured: tuple[str, ...] = CAPTURED) -> Trajectory:
    rng = np.random.default_rng(row)
    values = {
        "digit_log_probs": rng.normal(size=(length, 10)).astype(np.float32),
        "entropy": rng.normal(size=length).astype(np.float32),
        "alternative_ids": rng.integers(0, 9, (length, 5)).astype(np.int32),
        "alternative_log_probs": rng.normal(size=(length, 5)).astype(np.float32),
    }
    half = length // 2
    spans = (VersionSpan(0, half, Version(3)), VersionSpan(half, length, Version(4, "average")))
    return Trajectory(
        prompt_index=PROMPTS[row].index,
        sample_index=row % 3,
        prompt_ids=PROMPTS[row].ids,
        response_ids=rng.integers(0, 50, length).astype(np.int32),
        rollout_log_probs=rng.normal(size=length).astype(np.float32),
        finish_reason=("stop", "length", "lost")[row % 3],
        versions=spans if length > 1 else (VersionSpan(0, length, Version(-2)),),
        draw=PROMPTS[row].draw,
        **{"digit_log_probs": None} | {name: values[name] for name in captured},
    )


def assert_same(first: Trajectory, second: Trajectory) -> None:
    for field in dataclasses.fields(Trajectory):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if isinstance(a, np.ndarray):
            assert isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape, field.name
            assert a.tobytes() == b.tobytes(), field.name
        else:
            assert a == b, field.name


@pytest.mark.parametrize(
    "captured", [CAPTURED, ("digit_log_probs",), (), ("entropy",)], ids=["all", "digits", "none", "entropy"]
)
@pytest.mark.parametrize("lengths", [(4, 1, 0, 7, 2), (0, 0, 0, 0, 0), (5,)], ids=str)
def test_trajectories_come_back_bit_for_bit_also_those_without_tokens(captured, lengths):
    trajectories = [make(row, length, captured) for row, length in enumerate(lengths)]
    flat = flatten(trajectories)
    assert all(isinstance(array, np.ndarray) for array in flat.values()) and len(flat) <= 7 + len(CAPTURED)
    for found, expected in zip(unflatten(flat, PROMPTS[: len(lengths)]), trajectories, strict=True):
        assert_same(found, expected)


def test_what_comes_back_are_views():
    flat = flatten([make(row, 6) for row in range(3)])
    for t in unflatten(flat, PROMPTS[:3]):
        for name in ("response_ids", "rollout_log_probs", *CAPTURED):
            assert np.shares_memory(getattr(t, name), flat[name])


def test_a_value_that_only_some_have_is_refused():
    with pytest.raises(ValueError, match="entropy is in 1 of 2 trajectories: it must be in all or none"):
        flatten([make(0, 3), dataclasses.replace(make(1, 3), entropy=None)])


def test_as_many_prompts_as_trajectories_are_needed():
    with pytest.raises(ValueError):
        unflatten(flatten([make(0, 3), make(1, 3)]), PROMPTS[:1])

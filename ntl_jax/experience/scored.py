# SPDX-License-Identifier: Apache-2.0
"""Trajectories with their readings, NTL record and scores."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from ntl_jax.experience.reader import Reading
from ntl_jax.records import NTLInfo, Prompt, Trajectory
from ntl_jax.rewards import RewardOutcome

Sample = TypeVar("Sample")


class Scored(NamedTuple):
    """The samples of one engine call, one per row.

    Args:
        prompts: one per sample.
        trajectories: the sampled responses.
        readings: text, answer and labels of each response.
        ntl_info: the NTL record; None without NTL.
        outcomes: what the reward function returned for each sample.
        tau: the reward's temperature.
        fallbacks: rows without an NTL record, with the reason.
        reward_errors: prompt index and reason of every call of the reward function that returned no score,
            including samples that were replaced later.
    """

    prompts: Sequence[Prompt]
    trajectories: Sequence[Trajectory]
    readings: Sequence[Reading]
    ntl_info: NTLInfo | None
    outcomes: Sequence[RewardOutcome]
    tau: float
    fallbacks: Mapping[int, str]
    reward_errors: Sequence[tuple[int, str]]

    @property
    def scores(self) -> Float[np.ndarray, "B"]:
        """Rewards in float32, 0 for a sample without one: use them with ``valid``."""
        return np.array([o.score if o.valid else 0.0 for o in self.outcomes], np.float32)

    def of_keys(self, keys: Sequence[str]) -> Float[np.ndarray, "B K"]:
        """What the reward function returned under these keys, in float32, 0 for a sample without a reward.

        Args:
            keys: ``score`` and keys of metrics; the scorer has checked that they are there.
        """
        rows = [{"score": o.score, **o.metrics} if o.valid else dict.fromkeys(keys, 0.0) for o in self.outcomes]
        return np.array([[row[key] for key in keys] for row in rows], np.float32)

    @property
    def valid(self) -> Bool[np.ndarray, "B"]:
        """Samples that have a reward."""
        return np.array([o.valid for o in self.outcomes])

    @property
    def exact_match(self) -> Bool[np.ndarray, "B"]:
        """Samples whose answer is right."""
        return np.array([reading.exact_match for reading in self.readings])


def join_scored(parts: Sequence[Scored], rows: Int[np.ndarray, "B"]) -> Scored:
    """Samples of several calls as if from one call, with all errors; ``rows`` count through all parts."""

    def pick(by_part: Iterable[Sequence[Sample]]) -> list[Sample]:
        samples = [sample for part in by_part for sample in part]
        return [samples[i] for i in rows]

    if len(parts) == 1 and np.array_equal(rows, np.arange(len(parts[0].trajectories))):
        return parts[0]
    starts = np.cumsum([0, *(len(part.trajectories) for part in parts)])
    reasons = {start + i: why for start, part in zip(starts, parts, strict=False) for i, why in part.fallbacks.items()}
    infos = [part.ntl_info for part in parts if part.ntl_info is not None]
    return parts[0]._replace(
        prompts=pick(part.prompts for part in parts),
        trajectories=pick(part.trajectories for part in parts),
        readings=pick(part.readings for part in parts),
        ntl_info=join_infos(infos, rows) if infos else None,
        outcomes=pick(part.outcomes for part in parts),
        fallbacks={i: reasons[row] for i, row in enumerate(rows) if row in reasons},
        reward_errors=[error for part in parts for error in part.reward_errors],
    )


def join_infos(infos: Sequence[NTLInfo], rows: Int[np.ndarray, "B"]) -> NTLInfo:
    """Rows of several NTL records as one record, padded to the longest response; integers pad with -1 for "none"."""
    size = max(info.seq_len for info in infos)

    def padded(x: np.ndarray) -> np.ndarray:
        if x.ndim == 1:
            return x
        widths = [(0, 0), (0, size - x.shape[1]), *[(0, 0)] * (x.ndim - 2)]
        return np.pad(x, widths, constant_values=-1 if np.issubdtype(x.dtype, np.integer) else 0)

    joined = {}
    for name in (field.name for field in dataclasses.fields(NTLInfo) if field.name != "method"):
        values = [getattr(info, name) for info in infos]
        if name == "sequence_strings":
            texts = [text for part in values for text in part]
            joined[name] = tuple(texts[i] for i in rows)
        elif values[0] is not None:
            joined[name] = np.concatenate([padded(x) for x in values])[rows]
    return dataclasses.replace(infos[0], **joined)

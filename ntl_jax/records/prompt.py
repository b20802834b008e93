# SPDX-License-Identifier: Apache-2.0
"""A prompt for the policy."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int


@dataclasses.dataclass(frozen=True, eq=False)
class Prompt:
    """One draw of a question for the policy.

    Args:
        index: index of the problem in its data set.
        ids: token ids of the prompt.
        text: the prompt as text.
        ground_truth: the true answer.
        data_source: name of the data set, for the reward function.
        extra_info: further data for the reward function.
        solution: the full reference text.
        draw: number of this draw in the run: ``epoch * size of the data set + index``, by default ``index``. It seeds
            the samples and identifies the group: samples of a draw do not depend on the prompt's position in the batch,
            and a problem that is drawn twice has two groups with different samples.
        source_index: which of the sources that ``data.train`` or ``data.eval`` names it comes from, counted from 0.

    Example:
        >>> prompt = Prompt(index=0, ids=np.array([7, 11, 8, 12]), text="2+3?", ground_truth="5")
        >>> prompt.draw, dataclasses.replace(prompt, draw=200).draw
        (0, 200)
    """

    index: int
    ids: Int[np.ndarray, "P"]
    text: str
    ground_truth: str
    data_source: str = ""
    extra_info: Mapping[str, object] = dataclasses.field(default_factory=dict)
    solution: str = ""
    draw: int = -1
    source_index: int = 0

    def __post_init__(self) -> None:
        if self.draw < 0:
            object.__setattr__(self, "draw", self.index)

# SPDX-License-Identifier: Apache-2.0
"""The interface of a training stage: steps that change a state, and what a run needs to drive and resume them."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ntl_jax.records import Weights
from ntl_jax.rollout.flat_trajectories import FlatTrajectories
from ntl_jax.train.journal.step_samples import StepSamples
from ntl_jax.update.state import TrainState


class Stage(abc.ABC):
    """A stage of training.

    Attributes:
        name: name of the stage in checkpoints and metrics.jsonl.
        section: its section of the configuration, for messages.
        total: number of steps.
        eval_every: steps between evaluations of the policy; None: evaluate only after the last step. If set, the policy
            is also evaluated before the first step, and ``trainer.target_accuracy`` ends the stage.
        state: the state that its steps change.
    """

    name: ClassVar[str]
    section: ClassVar[str]
    total: int
    eval_every: int | None
    state: TrainState

    @abc.abstractmethod
    def step(self) -> tuple[dict[str, float], StepSamples | None]:
        """Runs one step; returns its metrics and, if it sampled, its samples."""

    @property
    @abc.abstractmethod
    def last_prompts(self) -> Sequence[int]:
        """Indices of the last step's prompts."""

    @abc.abstractmethod
    def weights(self) -> Weights:
        """The trained policy: its moving average if kept, else its newest parameters."""

    @abc.abstractmethod
    def position(self) -> dict[str, Any]:
        """What a checkpoint needs in addition to the state, as JSON."""

    @abc.abstractmethod
    def wait(self) -> None:
        """Waits until the rollout engine samples nothing for this stage, before an evaluation or a checkpoint."""

    @abc.abstractmethod
    def arrived(self) -> FlatTrajectories:
        """Samples for later steps, which a checkpoint holds beside the position; empty if there are none."""

    @abc.abstractmethod
    def restore(self, state: TrainState, position: Mapping[str, Any], arrived: FlatTrajectories) -> None:
        """Continues where a checkpoint was written."""

    def is_evaluated(self, step: int) -> bool:
        """Whether the policy is evaluated after a step; step 0 is before the first."""
        if self.eval_every is None:
            return step == self.total
        return step == self.total or step % self.eval_every == 0

# SPDX-License-Identifier: Apache-2.0
"""The trained policy that a command names: a run folder, or a Hugging Face model."""

from typing import Literal, NamedTuple

from ntl_jax.config.escapes import from_home
from ntl_jax.config.sections.data import DataSection
from ntl_jax.config.sections.run import ModelSection, RolloutSection, RunConfig
from ntl_jax.config.stored import holds_run, stored_config

MODEL_DATA = DataSection(max_prompt_tokens=2048)
MODEL_ROLLOUT = RolloutSection(max_tokens=512)
"""Of a Hugging Face model, unless an option says otherwise: GSM8K's solutions need as much."""


class PolicySource(NamedTuple):
    """A trained policy, as a command names it.

    Args:
        given: a run folder, the folder of a Hugging Face model, or a name on the hub.
        is_run: whether it is a run folder.
        checkpoint: which of a run's.
        config: the run's settings, or the defaults with ``model.path``.
    """

    given: str
    is_run: bool
    checkpoint: Literal["newest", "best"]
    config: RunConfig

    @classmethod
    def of(cls, given: str, checkpoint: Literal["newest", "best"] | None) -> "PolicySource":
        """What a command line names.

        Args:
            given: its argument.
            checkpoint: its option; None: not given.

        Raises:
            ValueError: for a checkpoint of a model, and as `stored_config`.

        Example:
            >>> PolicySource.of("HuggingFaceTB/SmolLM2-135M-Instruct", None).config.rollout.max_tokens
            512
        """
        folder = from_home(given)
        if holds_run(folder):
            return cls(given, True, checkpoint or "newest", stored_config(folder))
        if checkpoint is not None:
            raise ValueError(
                f"--checkpoint={checkpoint}: {given} is a model, and only run folders have checkpoints: leave it out, "
                "or give the run folder"
            )
        config = RunConfig(name="model", model=ModelSection(path=given), data=MODEL_DATA, rollout=MODEL_ROLLOUT)
        return cls(given, False, "newest", config)

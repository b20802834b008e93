# SPDX-License-Identifier: Apache-2.0
"""The contract of everything that samples."""

import abc
from collections.abc import Sequence

from ntl_jax.models import Decoder
from ntl_jax.records import Prompt, Sampling, Trajectory


class RolloutEngine(abc.ABC):
    """Samples responses and captures, in the same pass, the distribution that each token was drawn from."""

    @abc.abstractmethod
    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, *, seed: int) -> list[Trajectory]:
        """Draws ``sampling.num_samples`` responses to each prompt.

        Args:
            prompts: any number, in any order; random keys derive from ``seed``, ``Prompt.draw`` and the sample's
                index, so the order and the neighbours of a prompt do not change its samples.
            sampling: how to draw.
            seed: of this call, from the run's seed and step; in [0, 2**32).

        Returns:
            Trajectories in prompt order, then sample order.

        Raises:
            ValueError: naming the prompts that are empty, too long, or have ids outside the vocabulary; also if
                responses could exceed the policy's positions.
        """

    @abc.abstractmethod
    def load_weights(self, version: int, decoder: Decoder) -> None:
        """Samples from these weights from now on; trajectories carry ``version``."""

    @abc.abstractmethod
    def close(self) -> None:
        """Frees what the engine holds. It cannot be used afterwards."""


def check_prompts(prompts: Sequence[Prompt], max_prompt_tokens: int, num_ids: int) -> None:
    """ValueError that names all prompts which no engine could sample from."""
    problems = []
    for prompt in prompts:
        if len(prompt.ids) == 0:
            problems.append(f"prompt {prompt.index} is empty")
        elif len(prompt.ids) > max_prompt_tokens:
            problems.append(f"prompt {prompt.index} has {len(prompt.ids)} tokens, the engine takes {max_prompt_tokens}")
        elif prompt.ids.min() < 0 or prompt.ids.max() >= num_ids:
            low, high = prompt.ids.min(), prompt.ids.max()
            problems.append(f"prompt {prompt.index} holds ids outside [0, {num_ids}): from {low} to {high}")
    if problems:
        raise ValueError(
            f"{len(problems)} of {len(prompts)} prompts cannot be sampled:\n  " + "\n  ".join(problems[:10])
        )


def check_positions(
    num_prompt_tokens: int, max_tokens: int, max_positions: int | None, *, setting: str = "max_tokens"
) -> None:
    """Raises unless a prompt and its response fit into the positions that the policy supports.

    Args:
        num_prompt_tokens: length of the longest prompt.
        max_tokens: length of the longest response.
        max_positions: ``ModelConfig.max_positions``; None: no bound.
        setting: name of the setting that limits the response.

    Raises:
        ValueError: the rows exceed the positions.

    Example:
        >>> check_positions(24, 40, 64)
        >>> try:
        ...     check_positions(24, 41, 64)
        ... except ValueError as error:
        ...     print(str(error).partition(": ")[2])
        lower max_tokens to 40 or less, or max_prompt_tokens
    """
    total = num_prompt_tokens + max_tokens
    if max_positions is not None and total > max_positions:
        room = max_positions - num_prompt_tokens
        remedy = f"{setting} to {room} or less, or max_prompt_tokens" if room > 0 else "max_prompt_tokens"
        raise ValueError(
            f"a prompt of {num_prompt_tokens} tokens with a response of up to {max_tokens} takes {total} positions, "
            f"but the policy has {max_positions}: lower {remedy}"
        )

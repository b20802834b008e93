# SPDX-License-Identifier: Apache-2.0
"""From sampled ids to scores: text, true digits, NTL record, reward."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ntl_jax.config import RunConfig
from ntl_jax.numerals import DigitLabels, NumberTable, TokenDecoder, label_final_answer, sampled_digits
from ntl_jax.records import NTLInfo, Prompt, Trajectory
from ntl_jax.rewards import RewardFunction, RewardOutcome, build_ntl_info, is_correct


class Scored(NamedTuple):
    """Trajectories with everything that was read off them, row by row.

    Args:
        texts: the responses.
        labels: true digits of each response; None without NTL.
        ntl_info: None without NTL.
        outcomes: what the reward function made of each.
        correct: the answer is exactly right.
    """

    prompts: Sequence[Prompt]
    trajectories: Sequence[Trajectory]
    texts: Sequence[str]
    labels: Sequence[DigitLabels] | None
    ntl_info: NTLInfo | None
    outcomes: Sequence[RewardOutcome]
    correct: Bool[np.ndarray, "B"]

    @property
    def scores(self) -> Float[np.ndarray, "B"]:
        """Rewards in float32, 0 where there is none: use them with ``valid``."""
        return np.array([o.score if o.valid else 0.0 for o in self.outcomes], np.float32)

    @property
    def valid(self) -> Bool[np.ndarray, "B"]:
        return np.array([o.valid for o in self.outcomes])


class Scorer:
    """Scores trajectories with the configured reward function.

    Args:
        config: its ``ntl`` and ``reward`` sections.
        tokenizer: of the policy, for the responses' text.
        table: its digits.
    """

    def __init__(self, config: RunConfig, tokenizer, table: NumberTable):
        self._ntl = config.ntl
        default = "ntl_jax.rewards:ntl_reward" if config.ntl.enabled else "ntl_jax.rewards:exact_match"
        offered = ("ntl_info", "tau") if config.ntl.enabled else ()
        self.reward = RewardFunction(config.reward.function or default, offered=offered)
        self._decode = TokenDecoder(tokenizer)
        self._token_values = np.asarray(table.token_values)

    def __call__(self, prompts: Sequence[Prompt], trajectories: Sequence[Trajectory]) -> Scored:
        """``trajectories`` in prompt order, the same number for each prompt."""
        num_samples = len(trajectories) // len(prompts)
        prompts = [prompt for prompt in prompts for _ in range(num_samples)]
        texts, starts = zip(*(self._decode(t.response_ids) for t in trajectories), strict=True)
        labels = self._label(prompts, trajectories, texts, starts) if self._ntl.enabled else None
        ntl_info = None
        if labels is not None:
            digits = [t.digit_log_probs for t in trajectories if t.digit_log_probs is not None]
            ntl_info = build_ntl_info(digits, labels, texts, method=self._ntl.method)
        calls = [self._call(p, text, i, ntl_info) for i, (p, text) in enumerate(zip(prompts, texts, strict=True))]
        outcomes = self.reward(calls)
        correct = np.array([is_correct(text, p.ground_truth) for p, text in zip(prompts, texts, strict=True)])
        return Scored(prompts, trajectories, texts, labels, ntl_info, outcomes, correct)

    def _label(self, prompts, trajectories, texts, starts) -> list[DigitLabels]:
        return [
            label_final_answer(text, start, sampled_digits(t.response_ids, self._token_values), p.ground_truth)
            for p, t, text, start in zip(prompts, trajectories, texts, starts, strict=True)
        ]

    def _call(self, prompt: Prompt, text: str, index: int, ntl_info: NTLInfo | None) -> dict[str, Any]:
        call = {
            "data_source": prompt.data_source,
            "solution_str": text,
            "ground_truth": prompt.ground_truth,
            "extra_info": dict(prompt.extra_info),  # the function may change its own
        }
        if ntl_info is None:
            return call
        return call | {"ntl_info": ntl_info[index : index + 1], "tau": self._ntl.temperature}

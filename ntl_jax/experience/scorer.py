# SPDX-License-Identifier: Apache-2.0
"""From sampled ids to scores: text, true digits, NTL record, reward."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ntl_jax.config import RunConfig, parse_schedule
from ntl_jax.experience.digit_pass import PolicyPass
from ntl_jax.experience.digit_source import Extractor
from ntl_jax.models import Decoder
from ntl_jax.numerals import Answer, DigitLabels, NumberTable, TokenDecoder, label_response, sampled_numbers
from ntl_jax.records import NTLInfo, Prompt, Trajectory
from ntl_jax.rewards import CALL, EXTRAS, JUDGED, RewardFunction, RewardOutcome
from ntl_jax.tasks import Task

PLAIN = "ntl_jax.rewards:exact_match"


class Scored(NamedTuple):
    """Trajectories with everything that was read off them, row by row.

    Args:
        texts: the responses.
        labels: true digits of each response; None without NTL.
        ntl_info: None without NTL.
        outcomes: what the reward function made of each.
        correct: the answer is exactly right.
        tau: the reward's temperature.
        fallbacks: rows without an NTL record of their own, with the reason.
        reward_errors: index of the prompt and the reason for every call of the reward function that gave no score,
            samples included that were replaced since.
    """

    prompts: Sequence[Prompt]
    trajectories: Sequence[Trajectory]
    texts: Sequence[str]
    labels: Sequence[DigitLabels] | None
    ntl_info: NTLInfo | None
    outcomes: Sequence[RewardOutcome]
    correct: Bool[np.ndarray, "B"]
    tau: float
    fallbacks: Mapping[int, str]
    reward_errors: Sequence[tuple[int, str]]

    @property
    def scores(self) -> Float[np.ndarray, "B"]:
        """Rewards in float32, 0 where there is none: use them with ``valid``."""
        return np.array([o.score if o.valid else 0.0 for o in self.outcomes], np.float32)

    @property
    def valid(self) -> Bool[np.ndarray, "B"]:
        return np.array([o.valid for o in self.outcomes])


def join_scored(parts: Sequence[Scored], rows: Int[np.ndarray, "B"]) -> Scored:
    """Some samples of several calls as those of one, with the errors of all; they are numbered through all parts."""

    def pick(name: str) -> list[Any]:
        samples = [sample for part in parts for sample in getattr(part, name)]
        return [samples[i] for i in rows]

    starts = np.cumsum([0, *(len(part.texts) for part in parts)])
    reasons = {start + i: why for start, part in zip(starts, parts, strict=False) for i, why in part.fallbacks.items()}
    infos = [part.ntl_info for part in parts if part.ntl_info is not None]
    return parts[0]._replace(
        prompts=pick("prompts"),
        trajectories=pick("trajectories"),
        texts=pick("texts"),
        labels=None if parts[0].labels is None else pick("labels"),
        ntl_info=join_infos(infos, rows) if infos else None,
        outcomes=pick("outcomes"),
        correct=np.array(pick("correct")),
        fallbacks={i: reasons[row] for i, row in enumerate(rows) if row in reasons},
        reward_errors=[error for part in parts for error in part.reward_errors],
    )


def join_infos(infos: Sequence[NTLInfo], rows: Int[np.ndarray, "B"]) -> NTLInfo:
    """Some records of several batches as those of one, padded to the longest response: -1 where integers say "none"."""
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


class Scorer:
    """Scores trajectories with the configured reward function.

    Args:
        config: its ``ntl`` and ``reward`` sections.
        task: reads and judges the answers.
        tokenizer: of the policy, for the responses' text.
        table: its number tokens.
        policy_pass: for ``ntl.extract_during_log_prob``; without it the record needs what the engine captured.
    """

    def __init__(
        self, config: RunConfig, task: Task, tokenizer: Any, table: NumberTable, policy_pass: PolicyPass | None = None
    ):
        ntl = self._ntl = config.ntl
        self._extract = Extractor(ntl, table.kind, policy_pass)
        self._schedule = parse_schedule(ntl.temperature_schedule or "") if ntl.adaptive_temperature else None
        passes = ntl.enabled and ntl.pass_to_reward_function
        self._bonus = {
            "use_ntl_bonus": config.reward.use_ntl_bonus,
            "ntl_bonus_type": config.reward.ntl_bonus_type,
            "ntl_bonus_weight": config.reward.ntl_bonus_weight,
        }
        self.reward = RewardFunction(
            config.reward.function or task.default_reward(ntl=passes), offered=EXTRAS if passes else JUDGED
        )
        self._plain = RewardFunction(PLAIN, offered=JUDGED)
        self._task = task
        self._passes = passes
        self._tokenizer, self._table = tokenizer, table
        self._decode = TokenDecoder(tokenizer)
        self._token_values = np.asarray(table.token_values)

    def __call__(
        self,
        prompts: Sequence[Prompt],
        trajectories: Sequence[Trajectory],
        decoder: Decoder | None = None,
        *,
        temperature: float = 1.0,
        iteration: int = 0,
    ) -> Scored:
        """Scores the samples of one call of the engine.

        Args:
            prompts: what was asked.
            trajectories: in prompt order, the same number for each prompt.
            decoder: the policy that sampled, for ``ntl.extract_during_log_prob``.
            temperature: that it sampled with; for greedy samples 1.
            iteration: which sets the reward's temperature.

        Raises:
            ExtractionError: a record cannot be built, and ``ntl.fallback_on_error`` is off.
        """
        if not self._ntl.cache_digit_mappings:
            self._read_tokenizer()
        num_samples = len(trajectories) // len(prompts)
        prompts = [prompt for prompt in prompts for _ in range(num_samples)]
        texts, starts = zip(*(self._decode(t.response_ids) for t in trajectories), strict=True)
        answers = [self._task.answer_of(text) for text in texts]
        right = [self._task.is_correct(a, p.ground_truth) for a, p in zip(answers, prompts, strict=True)]
        labels, ntl_info, fallbacks = None, None, {}
        if self._ntl.enabled:
            labels = self._label(prompts, trajectories, texts, starts, answers)
            ntl_info, fallbacks = self._extract(trajectories, labels, texts, decoder, temperature)
        tau = self._ntl.temperature if self._schedule is None else self._schedule.at(iteration)
        samples = zip(prompts, texts, answers, right, strict=True)
        calls = [self._call(*sample, i, ntl_info, tau) for i, sample in enumerate(samples)]
        outcomes = self._rewards(calls, fallbacks)
        errors = [(p.index, o.error) for p, o in zip(prompts, outcomes, strict=True) if o.error is not None]
        return Scored(prompts, trajectories, texts, labels, ntl_info, outcomes, np.array(right), tau, fallbacks, errors)

    def _read_tokenizer(self) -> None:
        table = NumberTable.from_tokenizer(self._tokenizer, self._table.kind, vocab_size=len(self._token_values))
        self._token_values, self._decode = np.asarray(table.token_values), TokenDecoder(self._tokenizer)

    def _label(self, prompts, trajectories, texts, starts, answers) -> list[DigitLabels]:
        return [
            label_response(
                text,
                start,
                sampled_numbers(t.response_ids, self._token_values),
                p.ground_truth,
                answer=answer,
                mode=self._ntl.reward_mode,
            )
            for p, t, text, start, answer in zip(prompts, trajectories, texts, starts, answers, strict=True)
        ]

    def _call(
        self,
        prompt: Prompt,
        text: str,
        answer: Answer | None,
        correct: bool,
        index: int,
        ntl_info: NTLInfo | None,
        tau: float,
    ) -> dict[str, Any]:
        call = {
            "data_source": prompt.data_source,
            "solution_str": text,
            "ground_truth": prompt.ground_truth,
            "extra_info": dict(prompt.extra_info),  # the function may change its own
            "answer": answer,
            "correct": correct,
        }
        if ntl_info is None or not self._passes:
            return call
        return call | {"ntl_info": ntl_info[index : index + 1], "tau": tau} | self._bonus

    def _rewards(self, calls: Sequence[Mapping[str, Any]], fallbacks: Mapping[int, str]) -> list[RewardOutcome]:
        """The function's outcomes; a row without a record gets its exact match where the function uses records."""
        plain = set(fallbacks) if "ntl_info" in self.reward.takes else set()
        outcomes = iter(self.reward([call for i, call in enumerate(calls) if i not in plain]))
        others = iter(self._plain([{name: calls[i][name] for name in (*CALL, *JUDGED)} for i in sorted(plain)]))
        return [next(others if i in plain else outcomes) for i in range(len(calls))]

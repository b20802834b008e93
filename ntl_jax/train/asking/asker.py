# SPDX-License-Identifier: Apache-2.0
"""Answers of a trained policy to questions: its responses with their digits and, where the truth is known, judged."""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from ntl_jax.compilation_cache import keep_programs
from ntl_jax.config import RunConfig
from ntl_jax.data import Message, Problem, encode_prompts, load_template
from ntl_jax.data.special_tokens import find_special_tokens
from ntl_jax.data.template import ChatTemplate
from ntl_jax.experience.digits.source import DigitSource
from ntl_jax.experience.scored import Scored
from ntl_jax.experience.scorer import Scorer, reward_temperature
from ntl_jax.numerals import TokenDecoder, reference_number, sampled_numbers
from ntl_jax.policy_options import AskedPolicy
from ntl_jax.records import Prompt, Sampling, Trajectory, Version, Weights
from ntl_jax.rollout import RolloutEngine
from ntl_jax.rollout.engine import check_positions
from ntl_jax.rows.padding import RowShape
from ntl_jax.tasks import Task, Undecided, source_name, without_problems
from ntl_jax.train.asking.asked_policy import asked_policy, asked_weights
from ntl_jax.train.engines import build_engine, check_packages, fit_slots
from ntl_jax.train.factory import answers_are_numbers, build_scoring, build_task
from ntl_jax.train.journal.memory_use import Use, explained, sampling_uses
from ntl_jax.train.prompts import load_plain, prompt_writer

MOST_SLOTS = 64
"""Samples in flight, unless one question has more: questions of a file need not wait for each other."""
PROMPT_STEP = 64
"""Prompts are padded to a multiple of this, so that another question finds its program compiled."""


class Verdict(NamedTuple):
    """How a response compares with the true answer.

    Args:
        correct: whether the task says that the answer is right.
        score: the reward; None if the reward function gave none.
        ntl_loss: of its digits, infinite without an answer; None without NTL.
        error: why there is no reward.
    """

    correct: bool
    score: float | None
    ntl_loss: float | None
    error: str | None


class Sample(NamedTuple):
    """One response to a question.

    Args:
        text: the response.
        answer: the answer in it; None if it gives none.
        starts: where the text of each token begins.
        digits: the digit that each token is, -1 where it is none.
        trajectory: its ids and their log-probs.
        verdict: None if the truth is not known.
    """

    text: str
    answer: str | None
    starts: Int[np.ndarray, "T"]
    digits: Int[np.ndarray, "T"]
    trajectory: Trajectory
    verdict: Verdict | None


class Asker:
    """Asks a trained policy.

    Questions are checked by `encode`, before `load` loads the weights; programs are compiled when the first is asked.

    Args:
        asked: the policy.
        config: its settings, changed by options; ``rollout.max_tokens`` bounds responses.
        num_samples: responses to a question.
        temperature: of sampling; 0 is greedy, and ``rollout.top_p``, ``top_k`` and ``min_p`` have no part in it.

    Raises:
        ValueError: as in `asked_policy`, and for an engine that is not installed.
    """

    def __init__(self, asked: AskedPolicy, config: RunConfig, *, num_samples: int, temperature: float):
        check_packages(config)
        keep_programs(config.trainer.compilation_cache)
        self._asked, self._config = asked, config
        self._task = _task(config)
        self.policy = policy = asked_policy(asked, config)
        self._template = load_template(config.prompt.template, policy.tokenizer)
        train = load_plain(self._task, "train", policy.tokenizer, config.data)[0] if config.prompt.few_shot else []
        self._write = prompt_writer(config.prompt, self._template, self._task, train)
        self._decode, self._values = TokenDecoder(policy.tokenizer), np.asarray(policy.digits.token_values)
        rollout = config.rollout
        truncation = {"top_p": rollout.top_p, "top_k": rollout.top_k, "min_p": rollout.min_p} if temperature else {}
        self._sampling = Sampling(
            num_samples=num_samples,
            max_tokens=rollout.max_tokens,
            temperature=temperature,
            stop_token_ids=policy.vocabulary.stop_token_ids,
            stop_strings=rollout.stop_strings,
            **truncation,
        )
        self._engine: RolloutEngine | None = None
        self._of_engine = config
        self._room = self._count = self._cache_bytes = 0
        self._weights: Weights | None = None
        self._scoring: tuple[Scorer, DigitSource] | None = None

    def check_chat(self) -> None:
        """Raises a ValueError if prompts have no place for earlier turns."""
        if not isinstance(self._template, ChatTemplate):
            raise ValueError(
                f"--chat needs a chat template, and prompts are written by {self._template.about}: name a file with "
                "--template=FILE.jinja, or ask questions one by one"
            )

    def encode(self, questions: Sequence[str | Sequence[Message]], truth: str = "") -> list[Prompt]:
        """The prompts of questions, as the task writes them; ``data.max_prompt_tokens`` bounds them.

        Args:
            questions: texts, or the turns of a conversation of which the last is the user's.
            truth: the true answer to each; empty if it is not known.

        Raises:
            ValueError: for a question with a special token, one that is too long, a truth that is no number where
                rewards compare numbers, and a reward function that cannot be used.
        """
        first = self._count
        self._count += len(questions)
        given = [question if isinstance(question, str) else tuple(question) for question in questions]
        source = source_name(self._config.data, self._task) if truth else ""
        problems = [Problem(first + i, question, truth, truth, source) for i, question in enumerate(given)]
        for text in (problem.text for problem in problems):
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise ValueError(f"the question {text!r:.80} is not UTF-8 text")
            if special := find_special_tokens(text, self.policy.tokenizer):
                raise ValueError(
                    f"the question {text!r:.80} has the special token {special[0]!r}, which would end it or begin "
                    "another turn: leave it out"
                )
        if truth and answers_are_numbers(self._config) and reference_number(truth) is None:
            raise ValueError(f"--truth={truth!r} must be a number, such as 72, 1,200 or 1/2, which rewards compare")
        if not problems:
            return []
        most, starts = self._config.data.max_prompt_tokens, self._template.adds_start
        prompts, _ = encode_prompts(
            problems, self.policy.tokenizer, render=self._write, max_tokens=most, adds_start=starts
        )
        longest = max(len(prompt.ids) for prompt in prompts)
        names = {"setting": "rollout.max_tokens", "prompt_setting": "the length of the question"}
        check_positions(longest, self._sampling.max_tokens, self.policy.model.max_positions, **names)
        self._make_room(longest, len(prompts))
        if truth:
            shape = RowShape(row=longest + self._sampling.max_tokens, response=self._sampling.max_tokens)
            self._scoring = build_scoring(self._config, self._task, self.policy, shape)
        return prompts

    def load(self) -> str:
        """Loads the weights; returns what they are."""
        with explained(self._memory_uses()):
            name, params = asked_weights(
                self._asked,
                self.policy,
                seed=self._config.seed,
                elsewhere=self._config.trainer.checkpoint_folder,
            )
        self._weights = Weights(Version(0), params)
        return name

    def __call__(self, prompts: Sequence[Prompt]) -> list[list[Sample]]:
        """The responses to each prompt.

        Args:
            prompts: from `encode`.
        """
        assert self._weights is not None, "load() first"
        of_each = [prompt for prompt in prompts for _ in range(self._sampling.num_samples)]
        with explained(self._memory_uses()):
            if self._engine is None:
                self._engine = build_engine(self._of_engine, self.policy, max_prompt_tokens=self._room)
            with self._engine.lending(self._weights):
                trajectories = self._engine.generate(prompts, self._sampling, seed=self._config.seed)
            verdicts = self._verdicts(of_each, trajectories)
        samples = iter([self._read(t, verdict) for t, verdict in zip(trajectories, verdicts, strict=True)])
        return [[next(samples) for _ in range(self._sampling.num_samples)] for _ in prompts]

    def close(self) -> None:
        """Frees the engine and ends the reward function's processes."""
        if self._scoring is not None:
            self._scoring[0].close()
        if self._engine is not None:
            self._engine.close()

    def _memory_uses(self) -> list[Use]:
        return sampling_uses(self._config, self.policy, self._cache_bytes)

    def _settings(self, num_prompts: int) -> RunConfig:
        """The settings of an engine for so many prompts."""
        num_samples = self._sampling.num_samples
        groups = min(num_prompts, max(1, MOST_SLOTS // num_samples))
        sizes = {"prompts_per_step": groups, "num_samples": num_samples, "slots": groups * num_samples}
        return dataclasses.replace(self._config, rollout=dataclasses.replace(self._config.rollout, **sizes))

    def _make_room(self, longest: int, num_prompts: int) -> None:
        """Ends an engine whose prompts are shorter than this; the next one takes prompts of at least twice its length.

        Raises:
            ValueError: if the samples of one prompt do not fit in memory.
        """
        if longest <= self._room:
            return
        room = -(-max(longest, 2 * self._room) // PROMPT_STEP) * PROMPT_STEP
        room = min(room, self._config.data.max_prompt_tokens)
        if (positions := self.policy.model.max_positions) is not None:
            room = min(room, positions - self._sampling.max_tokens)
        num_samples = self._sampling.num_samples
        groups = {f"rollout.num_samples={num_samples}": (num_samples, num_prompts)}
        settings = self._settings(num_prompts)
        self._of_engine, self._cache_bytes = fit_slots(settings, self.policy, groups, max_prompt_tokens=room)
        self._room = room
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _verdicts(self, prompts: Sequence[Prompt], trajectories: Sequence[Trajectory]) -> Sequence[Verdict | None]:
        if self._scoring is None or not prompts[0].ground_truth:
            return [None] * len(prompts)
        scorer, digits = self._scoring
        assert self._weights is not None
        filled = digits(self._weights.params, prompts, trajectories, self._sampling.temperature or 1.0)
        return _judged(scorer(prompts, filled, reward_temperature(self._config.ntl, 0)))

    def _read(self, trajectory: Trajectory, verdict: Verdict | None) -> Sample:
        text, starts = self._decode(trajectory.response_ids)
        answer = None
        with contextlib.suppress(Undecided):  # a pattern of the user's own that takes too long
            answer = self._task.answer_of(text)
        digits = sampled_numbers(trajectory.response_ids, self._values)
        return Sample(text, None if answer is None else answer.text, starts, digits, trajectory, verdict)


def _task(config: RunConfig) -> Task:
    """The task, with the training problems where prompts show some; else no file is read."""
    if not config.prompt.few_shot:
        return without_problems(config.data, config.answer, numeric=answers_are_numbers(config))
    few = dataclasses.replace(config.data, num_train=config.prompt.few_shot + 1)
    return build_task(dataclasses.replace(config, data=few), new=False)


def _judged(scored: Scored) -> list[Verdict]:
    losses = [None] * len(scored.prompts) if scored.ntl_info is None else scored.ntl_info.ntl_loss.tolist()
    return [
        Verdict(reading.exact_match, float(outcome.score) if outcome.valid else None, loss, outcome.error)
        for reading, outcome, loss in zip(scored.readings, scored.outcomes, losses, strict=True)
    ]

# SPDX-License-Identifier: Apache-2.0
"""Evaluates a policy on the held-out problems: a greedy response and, if configured, several samples per problem.

A run's own evaluations and ``launch/eval.py`` share this code.
"""

import collections
import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from ntl_jax.config import RunConfig
from ntl_jax.experience.digits.source import DigitSource
from ntl_jax.experience.reader import Reading
from ntl_jax.experience.scored import Scored
from ntl_jax.experience.scorer import Scorer, reward_temperature
from ntl_jax.metrics import repeated_metrics
from ntl_jax.numerals import reference_number, relative_error, symmetric_error
from ntl_jax.records import Params, Prompt, Sampling, Weights
from ntl_jax.rollout import RolloutEngine
from ntl_jax.train.journal.iteration_metrics import ntl_metrics


class Evaluation(NamedTuple):
    """Scored responses to the held-out problems.

    Args:
        greedy: one response per problem.
        sampled: the same number of samples per problem, in the problems' order; None if not configured.
    """

    greedy: Scored
    sampled: Scored | None


class Response(TypedDict):
    """A response as written to a file."""

    response: str
    extracted_answer: str | None
    correct: bool
    score: float | None
    error: str | None
    num_tokens: int
    finish_reason: str


class EvaluationRow(Response):
    """The prompt, the greedy response and the samples."""

    index: int
    prompt: str
    ground_truth: str
    samples: list[Response]


class Evaluator:
    """Evaluates policies; the same policy gives the same evaluation.

    Args:
        config: ``trainer.eval_*`` sets the samples, ``ntl`` the reward's temperature.
        prompts: the held-out prompts.
        greedy: sampling parameters of the greedy responses.
        engine: samples responses.
        scorer: scores responses.
        digits: fills in the log-probs of digits.
    """

    def __init__(
        self,
        config: RunConfig,
        prompts: Sequence[Prompt],
        greedy: Sampling,
        engine: RolloutEngine,
        scorer: Scorer,
        digits: DigitSource,
    ):
        self._config, self._prompts, self._greedy = config, prompts, greedy
        self._engine, self._scorer, self._digits = engine, scorer, digits

    def __call__(self, weights: Weights) -> Evaluation:
        """Responds to the prompts; nothing is lent to the engine afterwards.

        Args:
            weights: the policy's weights; an engine that already holds this version does not reload them.
        """
        trainer, sampled = self._config.trainer, None
        with self._engine.lending(weights):
            greedy = self._respond(weights.params, self._greedy)
            if trainer.eval_samples:
                drawn = {"temperature": trainer.eval_temperature, "top_p": trainer.eval_top_p}
                sampling = dataclasses.replace(self._greedy, num_samples=trainer.eval_samples, **drawn)
                sampled = self._respond(weights.params, sampling)
        return Evaluation(greedy, sampled)

    def _respond(self, policy: Params, sampling: Sampling) -> Scored:
        trajectories = self._engine.generate(self._prompts, sampling, seed=self._config.seed)
        asked = [prompt for prompt in self._prompts for _ in range(sampling.num_samples)]
        filled = self._digits(policy, asked, trajectories, sampling.temperature or 1.0)
        return self._scorer(asked, filled, reward_temperature(self._config.ntl, 0))


def evaluation_metrics(evaluation: Evaluation) -> dict[str, float]:
    """The ``val/`` metrics: those of the greedy responses, and ``mean@n``, ``maj@n`` and ``pass@k`` of the samples."""
    greedy, sampled = evaluation
    scores = greedy.scores[greedy.valid]
    metrics = {
        "val/accuracy": float(greedy.exact_match.mean()),
        "val/num_problems": float(len(greedy.prompts)),
        "val/score/mean": float(scores.mean()) if len(scores) else float("nan"),
        "val/response_length/mean": float(np.mean([len(t.response_ids) for t in greedy.trajectories])),
        "val/answered": float(np.mean([reading.answer is not None for reading in greedy.readings])),
    }
    metrics |= _errors(greedy)
    if undecided := sum(reading.undecided for reading in greedy.readings):
        metrics["val/undecided"] = float(undecided)
    sources = [(prompt.source_index, prompt.data_source) for prompt in greedy.prompts]
    if len({*sources}) > 1:
        for source, name in _metric_names(sources).items():
            of_source = np.array([other == source for other in sources])
            metrics[f"val/{name}/accuracy"] = float(greedy.exact_match[of_source].mean())
    if greedy.ntl_info is not None:
        metrics["val/ntl_loss"] = ntl_metrics(greedy.ntl_info, greedy.tau)["ntl/loss"]
    if sampled is not None:
        correct = sampled.exact_match.reshape(len(greedy.prompts), -1)
        answers = np.array([_text(reading) for reading in sampled.readings], object).reshape(correct.shape)
        metrics |= {f"val/{name}": value for name, value in repeated_metrics(answers.tolist(), correct).items()}
    return metrics


def _errors(scored: Scored) -> dict[str, float]:
    """How far answers are from the true numbers; without a number among the truths, nothing."""
    pairs = [
        (None if reading.answer is None else reading.answer.value, true.value)
        for prompt, reading in zip(scored.prompts, scored.readings, strict=True)
        if (true := reference_number(prompt.ground_truth)) is not None and true.value is not None
    ]
    if not pairs:
        return {}
    return {
        "val/smape": float(np.mean([symmetric_error(*pair) for pair in pairs])),
        "val/median_relative_error": float(np.median([relative_error(*pair) for pair in pairs])),
    }


def unrewarded(evaluation: Evaluation) -> str | None:
    """How many responses have no reward, and why the first has none; None if all have one."""
    outcomes = [outcome for scored in evaluation if scored is not None for outcome in scored.outcomes]
    reasons = [outcome.error for outcome in outcomes if outcome.error is not None]
    if not reasons:
        return None
    reason = reasons[0].strip().splitlines()[-1]
    return f"{len(reasons)} of {len(outcomes)} responses of the evaluation have no reward; the first: {reason}"


def evaluation_rows(evaluation: Evaluation) -> Iterator[EvaluationRow]:
    """One row per problem, as plain Python values."""
    greedy, sampled = evaluation
    count = 0 if sampled is None else len(sampled.readings) // len(greedy.readings)
    for row, prompt in enumerate(greedy.prompts):
        yield {
            "index": prompt.index,
            "prompt": prompt.text,
            "ground_truth": prompt.ground_truth,
            **_response(greedy, row),
            "samples": [] if sampled is None else [_response(sampled, row * count + i) for i in range(count)],
        }


def _response(scored: Scored, row: int) -> Response:
    outcome, trajectory, reading = scored.outcomes[row], scored.trajectories[row], scored.readings[row]
    return {
        "response": reading.text,
        "extracted_answer": _text(reading),
        "correct": reading.exact_match,
        "score": float(outcome.score) if outcome.valid else None,
        "error": outcome.error,
        "num_tokens": len(trajectory.response_ids),
        "finish_reason": trajectory.finish_reason,
    }


def _metric_names(sources: Sequence[tuple[int, str]]) -> dict[tuple[int, str], str]:
    """The names of sources in metrics; those that would be the same are numbered."""
    names = {source: _plain(source[1]) for source in sources}
    counts, numbers = collections.Counter(names.values()), collections.Counter[str]()
    for source, name in names.items():
        if counts[name] > 1:
            numbers[name] += 1
            names[source] = f"{name}-{numbers[name]}"
    return names


def _plain(name: str) -> str:
    """The name of a source as part of a metric's name: trackers take few other characters."""
    return re.sub(r"[^\w./-]", "_", name, flags=re.ASCII)


def _text(reading: Reading) -> str | None:
    return None if reading.answer is None else reading.answer.text

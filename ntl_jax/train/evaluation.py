# SPDX-License-Identifier: Apache-2.0
"""How good a policy is on the held-out problems: greedy responses and, where asked for, several samples of each.

One way for a run's own evaluations and for ``launch/eval.py``.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from flax import nnx

from ntl_jax.experience.digit_source import captures_digits
from ntl_jax.experience.scorer import Scored
from ntl_jax.metrics import repeated_metrics
from ntl_jax.models import Decoder
from ntl_jax.records import Sampling, Version, Weights
from ntl_jax.rewards import extract_answer
from ntl_jax.train.factory import Parts
from ntl_jax.train.journal.samples import ntl_metrics


class Evaluation(NamedTuple):
    """Scored responses to the held-out problems.

    Args:
        greedy: one response a problem.
        sampled: the same number of each, in the problems' order; None where none were asked for.
    """

    greedy: Scored
    sampled: Scored | None


def evaluate(parts: Parts, decoder: Decoder, *, version: Version) -> Evaluation:
    """Responds to ``parts.eval_prompts`` as the settings ``trainer.eval_*`` say; the same policy in the same way.

    Args:
        parts: of the run; its engine gets the weights.
        decoder: the policy.
        version: of its weights, for the engine.
    """
    trainer, sampled = parts.config.trainer, None
    parts.engine.publish(Weights(version, nnx.state(decoder, nnx.Param)))
    greedy = _respond(parts, decoder, num_samples=1, temperature=0.0)
    if trainer.eval_samples:
        drawn = {"temperature": trainer.eval_temperature, "top_p": trainer.eval_top_p}
        sampled = _respond(parts, decoder, num_samples=trainer.eval_samples, **drawn)
    parts.engine.retract()
    return Evaluation(greedy, sampled)


def evaluation_metrics(evaluation: Evaluation) -> dict[str, float]:
    """The ``val/`` group: of the greedy responses, and ``mean@n``, ``maj@n`` and ``pass@k`` of the samples."""
    greedy, sampled = evaluation
    scores = greedy.scores[greedy.valid]
    metrics = {
        "val/accuracy": float(greedy.correct.mean()),
        "val/num_problems": float(len(greedy.prompts)),
        "val/score/mean": float(scores.mean()) if len(scores) else float("nan"),
        "val/response_length/mean": float(np.mean([len(t.response_ids) for t in greedy.trajectories])),
        "val/answered": float(np.mean([extract_answer(text) is not None for text in greedy.texts])),
    }
    if greedy.ntl_info is not None:
        metrics["val/ntl_loss"] = ntl_metrics(greedy.ntl_info, greedy.tau)["ntl/loss"]
    if sampled is not None:
        correct = sampled.correct.reshape(len(greedy.prompts), -1)
        answers = np.array([extract_answer(text) for text in sampled.texts], object).reshape(correct.shape)
        metrics |= {f"val/{name}": value for name, value in repeated_metrics(answers.tolist(), correct).items()}
    return metrics


def examples(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """One row a problem, as plain values: what was asked, the greedy response, and the samples."""
    greedy, sampled = evaluation
    count = 0 if sampled is None else len(sampled.texts) // len(greedy.texts)
    for row, prompt in enumerate(greedy.prompts):
        yield {
            "index": prompt.index,
            "prompt": prompt.text,
            "ground_truth": prompt.ground_truth,
            **_response(greedy, row),
            "samples": [] if sampled is None else [_response(sampled, row * count + i) for i in range(count)],
        }


def _respond(parts: Parts, decoder: Decoder, *, num_samples: int, temperature: float, top_p: float = 1.0) -> Scored:
    rollout = parts.config.rollout
    sampling = Sampling(
        num_samples=num_samples,
        max_tokens=rollout.max_tokens,
        temperature=temperature,
        top_p=top_p,
        stop_token_ids=parts.stop_token_ids,
        stop_strings=rollout.stop_strings,
        capture_digits=captures_digits(parts.config.ntl, parts.table),
    )
    trajectories = parts.engine.generate(parts.eval_prompts, sampling, seed=parts.config.seed)
    return parts.scorer(parts.eval_prompts, trajectories, decoder, temperature=temperature or 1.0)


def _response(scored: Scored, row: int) -> dict[str, Any]:
    outcome, trajectory = scored.outcomes[row], scored.trajectories[row]
    return {
        "response": scored.texts[row],
        "extracted_answer": extract_answer(scored.texts[row]),
        "correct": bool(scored.correct[row]),
        "score": float(outcome.score) if outcome.valid else None,
        "num_tokens": len(trajectory.response_ids),
        "finish_reason": trajectory.finish_reason,
    }

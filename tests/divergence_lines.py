# SPDX-License-Identifier: Apache-2.0
"""For tests of what reads divergence logs: twenty lines, whose counts are easily worked out by hand.

Line i is of iteration i // 2 and position i % 10 of a response of 10 tokens. Every fourth token is no digit, every
fifth is of an incorrect answer. Even ones diverge by 0.8, with the sampler sure; odd ones by 0.6 in the first half and
0.5 in the second, with the trainer sure. The first five were sampled by the weights in training.
"""

import json
import math
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

Line = dict[str, Any]
OF_EVERY_PROGRAM = (
    "iteration", "rank", "batch_idx", "position", "position_from_end", "sequence_length", "token_id", "token_text",
    "prob_divergence", "rollout_prob", "actor_prob", "rollout_logprob", "actor_logprob", "logprob_diff", "is_correct",
    "total_score", "context_text", "context_start_pos", "context_end_pos", "prompt_text", "prompt_num_tokens",
    "full_response", "response_num_tokens",
)  # fmt: skip
"""Keys that lines of any program have; the rest is ours."""


def line(i: int = 0, **changes: Any) -> Line:
    """One line, with all keys."""
    is_digit, is_correct = i % 4 != 3, i % 5 != 4
    rollout, actor, divergence = (0.9, 0.1, 0.8) if i % 2 == 0 else (0.1, 0.7, 0.6) if i < 10 else (0.1, 0.6, 0.5)
    text, position = str(i % 10) if is_digit else " apples", i % 10
    start, end = max(0, position - 5), min(10, position + 6)
    values = {
        "iteration": i // 2, "rank": i % 2, "batch_idx": i, "position": position, "position_from_end": 9 - position,
        "sequence_length": 10, "token_id": i % 10 if is_digit else 99, "token_text": text,
        "prob_divergence": divergence, "rollout_prob": rollout, "actor_prob": actor,
        "rollout_logprob": math.log(rollout), "actor_logprob": math.log(actor),
        "logprob_diff": math.log(rollout / actor), "is_correct": is_correct, "total_score": float(is_correct),
        "context_text": f"2+3={text}\n", "context_start_pos": start, "context_end_pos": end, "prompt_text": "2+3?",
        "prompt_num_tokens": 4, "full_response": "2+3=5 #### 5", "response_num_tokens": 10,
        "flip_type": ("rollout_confident_actor_rejects", "actor_confident_rollout_rejects")[i % 2],
        "actor_entropy": 0.5, "actor_alternatives": [{"token_id": 5, "token_text": "5", "logprob": -0.2}] * 5,
        "rollout_entropy": None, "rollout_alternatives": None, "rollout_digit_logprobs": [-2.3] * 10,
        "advantage": 0.5, "reward": float(is_correct), "attention_mask": [1] * (end - start), "is_digit": is_digit,
        "digit_ground_truth": 5 if is_digit else None, "token_kind": "digits" if is_digit else "other",
        "policy_version": 0, "staleness": int(i >= 5),
    }  # fmt: skip
    return values | changes


def lines() -> list[Line]:
    """All twenty."""
    return [line(i) for i in range(20)]


def write_log(path: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> pathlib.Path:
    """Writes a log; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path

# SPDX-License-Identifier: Apache-2.0
"""Run folders written by hand, for tests of what is shown of them."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ntl_jax.config import CONFIG_FILE, RolloutSection, RunConfig, TrainerSection, config_to_json
from ntl_jax.metrics.samples.group import LoggedGroup, LoggedSample
from ntl_jax.metrics.samples.log import SampleLog

CONFIG = RunConfig(name="by_hand", rollout=RolloutSection(prompts_per_step=4, num_samples=2), trainer=TrainerSection(4))


def sample(index: int, response: str, *, truth: str = "42", **values: Any) -> LoggedSample:
    """A response that is one token a character, of which each digit has probability 0.9."""
    positions = np.array([i for i, c in enumerate(response) if c.isdigit()], int)
    written = [int(response[i]) for i in positions]
    ends = dict(zip(positions.tolist()[-len(truth) :], map(int, truth), strict=False))
    given: dict[str, Any] = {
        "sample_index": index, "response": response, "finish_reason": "stop", "reward": float(response == truth),
        "error": None, "reward_metrics": {"closeness": 0.5}, "answer": response, "is_correct": response == truth,
        "ntl_loss": 0.25, "token_ids": np.arange(len(response)), "token_starts": np.arange(len(response)),
        "log_probs": np.full(len(response), -0.1), "actor_log_probs": np.full(len(response), -0.2),
        "entropy": None, "actor_entropy": np.full(len(response), 0.3),
        "advantages": np.full(len(response), 1.0 - 2 * index),
        "versions": [(0, len(response), 1)], "digit_positions": positions,
        "digit_truth": np.array([ends.get(i, -1) for i in positions.tolist()], int),
        "digit_probabilities": np.full((len(written), 10), 0.1 / 9) + (0.9 - 0.1 / 9) * np.eye(10)[written],
    }  # fmt: skip
    return LoggedSample(**(given | values))


def group(*responses: str, prompt: str = "6 * 7?", truth: str = "42") -> LoggedGroup:
    """A prompt with these responses."""
    return LoggedGroup(7, 7, prompt, truth, [sample(i, text, truth=truth) for i, text in enumerate(responses)])


def metric_lines(steps: Sequence[int]) -> str:
    """Lines of ``metrics.jsonl``."""
    rows = [
        {
            "stage": "ppo",
            "step": step,
            "critic/score/mean": step / 10,
            "reward/accuracy": step / 8,
            "ntl/loss": 1 / step,
        }
        | {"timing_s/gen": 0.5, "timing_s/update_actor": 0.25, "timing_s/step": 0.75, "perf/throughput": 1000.0 * step}
        | ({"val/accuracy": step / 8, "val/num_problems": 16.0} if step % 2 == 0 else {})
        for step in steps
    ]
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def write_run(folder: pathlib.Path, steps: int = 4, config: RunConfig = CONFIG) -> pathlib.Path:
    """A run of four iterations, or one that ended earlier."""
    folder.mkdir(exist_ok=True, parents=True)
    (folder / CONFIG_FILE).write_text(config_to_json(config))
    (folder / "environment.json").write_text(json.dumps({"python": "3.11.7", "packages": {"jax": "0.10.2"}}))
    (folder / "metrics.jsonl").write_text(metric_lines(range(1, steps + 1)))
    with SampleLog(folder) as log:
        for step in range(1, steps + 1):
            log.write("ppo", step, lambda: [group("42", "41"), group("is 42", "7", prompt="<b>so?</b>")])
    return folder

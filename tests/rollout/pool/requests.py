# SPDX-License-Identifier: Apache-2.0
"""For tests of the pool: requests, and what becomes of them without a policy."""

import numpy as np

from ntl_jax.records import Prompt, Request, Sampling, Trajectory

SAMPLING = Sampling(num_samples=2, max_tokens=6)


def ask(index: int, *, num_samples: int = 2, draw: int = -1, text: str = "") -> Request:
    """A request whose prompt is its index."""
    prompt = Prompt(index, np.array([index % 40], np.int32), text, "", draw=draw)
    return Request(prompt, Sampling(num_samples, max_tokens=6), seed=index)


def respond(request: Request, index: int, value: float = 0.0) -> Trajectory:
    """A response that depends on nothing but the draw, the seed, the sample's index and a value of the weights."""
    rng = np.random.default_rng([request.seed, request.prompt.draw, index])
    length = int(rng.integers(1, request.sampling.max_tokens + 1))
    return Trajectory(
        prompt_index=request.prompt.index,
        sample_index=index,
        prompt_ids=request.prompt.ids,
        response_ids=rng.integers(0, 40, length).astype(np.int32),
        rollout_log_probs=(rng.uniform(-2, 0, length) + value).astype(np.float32),
        digit_log_probs=rng.normal(-2, 1, (length, 10)).astype(np.float32),
        finish_reason="stop" if length < request.sampling.max_tokens else "length",
        versions=(),
        draw=request.prompt.draw,
    )

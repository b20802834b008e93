# SPDX-License-Identifier: Apache-2.0
"""Scored samples that no policy wrote."""

import pytest

from ntl_jax.experience.scored import Scored
from ntl_jax.rewards import RewardOutcome
from tests.samples import respond

TEXTS = ("It is {}.\n#### {}", "#### 7", "I do not know", "#### {}")
"""Of the four samples of a prompt, with the true answer in the place of the braces."""


@pytest.fixture
def scored(setup) -> Scored:
    """Four samples of each of two prompts, the last of which is cut off; of the last sample the reward failed."""
    prompts = [prompt for prompt in setup.prompts.train[:2] for _ in TEXTS]
    texts = [text.replace("{}", prompt.ground_truth) for prompt, text in zip(prompts, 2 * TEXTS, strict=True)]
    trajectories = [
        respond(prompt, text, i % 4, sure=True, finish="stop" if i < 7 else "length")
        for i, (prompt, text) in enumerate(zip(prompts, texts, strict=True))
    ]
    result = setup.scorer(prompts, trajectories, 1.0)
    scores = [0.9, 0.25, 0.0, 1.0, 0.5, 0.25, 0.0]
    outcomes = [RewardOutcome.of({"score": x, "length": i}) for i, x in enumerate(scores)]
    failed = RewardOutcome.failed("Traceback: no reward")
    return result._replace(
        outcomes=[*outcomes, failed], fallbacks={2: "no digit"}, reward_errors=[(prompts[7].index, "no reward")]
    )

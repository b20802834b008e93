# SPDX-License-Identifier: Apache-2.0
"""Requests and the prompts in them."""

import dataclasses

import numpy as np
import pytest

from ntl_jax.records import Prompt, Request, Sampling

PROMPT = Prompt(index=7, ids=np.array([1, 2]), text="2+3?", ground_truth="5")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_beyond_32_bits_is_refused_with_the_fix(seed):
    with pytest.raises(ValueError, match=rf"seed={seed} must lie in \[0, 2\*\*32\): take it modulo"):
        Request(PROMPT, Sampling(num_samples=1, max_tokens=1), seed)


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_every_seed_of_32_bits_is_allowed(seed):
    assert Request(PROMPT, Sampling(num_samples=1, max_tokens=1), seed).seed == seed


def test_the_draw_of_a_prompt_is_its_index_unless_it_is_given():
    assert (PROMPT.draw, dataclasses.replace(PROMPT, draw=0).draw) == (7, 0)

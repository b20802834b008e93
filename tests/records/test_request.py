# SPDX-License-Identifier: Apache-2.0
"""A request's seed is one that every engine takes."""

import numpy as np
import pytest

from ntl_jax.records import Prompt, Request, Sampling

PROMPT = Prompt(index=0, ids=np.array([7]), text="2", ground_truth="5")
SAMPLING = Sampling(num_samples=1, max_tokens=1)


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_seeds_of_32_bits_are_taken_to_the_last_one(seed):
    assert Request(PROMPT, SAMPLING, seed).seed == seed


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused_with_what_to_do(seed):
    with pytest.raises(ValueError, match=rf"seed={seed} must lie in \[0, 2\*\*32\): take it modulo 2\*\*32"):
        Request(PROMPT, SAMPLING, seed)

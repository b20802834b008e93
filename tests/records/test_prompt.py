# SPDX-License-Identifier: Apache-2.0
"""A prompt's draw tells groups apart."""

import dataclasses

import numpy as np

from ntl_jax.records import Prompt

PROMPT = Prompt(index=5, ids=np.array([7, 11]), text="2+", ground_truth="5")


def test_the_first_draw_of_a_problem_has_the_problems_number():
    assert PROMPT.draw == 5


def test_a_later_draw_keeps_its_number_and_the_problems_index():
    later = dataclasses.replace(PROMPT, draw=205)
    assert (later.index, later.draw) == (5, 205)


def test_prompts_with_equal_contents_are_not_one_so_that_arrays_are_never_compared():
    assert dataclasses.replace(PROMPT) != PROMPT

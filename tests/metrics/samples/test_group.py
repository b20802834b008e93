# SPDX-License-Identifier: Apache-2.0
"""What a line of the log of samples holds."""

import json

import numpy as np

from ntl_jax.metrics.atomic_files import as_line
from tests.logged import group, sample


def test_a_line_holds_everything_about_the_samples_of_a_prompt():
    row = json.loads(as_line(group("is 42", "41").as_row("ppo", 3)))
    assert (row["stage"], row["step"], row["prompt_index"], row["ground_truth"]) == ("ppo", 3, 7, "42")
    right, wrong = row["samples"]
    assert right["digit_positions"] == [3, 4] and right["digit_truth"] == [4, 2]
    assert right["digit_probabilities"][0][4] == 0.9 and len(right["log_probs"]) == len("is 42")
    assert (right["reward"], wrong["reward"], wrong["is_correct"]) == (0.0, 0.0, False)


def test_what_is_not_known_or_not_finite_is_null():
    odd = sample(
        0, "7", entropy=None, actor_log_probs=None, log_probs=np.array([-np.inf]), ntl_loss=np.inf, reward=None
    )
    row = json.loads(as_line(odd.as_row()))
    assert (row["entropy"], row["actor_log_probs"], row["log_probs"], row["ntl_loss"]) == (None, None, [None], None)
    assert sample(0, "7", digit_truth=None).as_row()["digit_truth"] is None


def test_a_response_without_digits_can_be_logged():
    row = sample(0, "none").as_row()
    assert (row["digit_positions"], row["digit_probabilities"]) == ([], [])

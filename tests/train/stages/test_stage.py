# SPDX-License-Identifier: Apache-2.0
"""When the policy of a stage is evaluated."""

import pytest

from tests.train.hand_made_stages import CountingStage


@pytest.mark.parametrize(
    ("eval_every", "evaluated"), [(None, [5]), (1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4, 5]), (7, [0, 5])]
)
def test_a_policy_is_evaluated_at_its_intervals_before_the_first_step_and_after_the_last(eval_every, evaluated):
    stage = CountingStage(5, eval_every)
    assert [step for step in range(6) if stage.is_evaluated(step)] == evaluated

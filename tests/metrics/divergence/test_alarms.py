# SPDX-License-Identifier: Apache-2.0
"""Alarms at their bounds; that faults are named rightly is in tests/train/mismatch/test_suspects.py."""

import numpy as np
import pytest

from ntl_jax.metrics.divergence.alarms import alarms_of, lost_update
from ntl_jax.metrics.divergence.comparison import Comparison, LogProbs, compare


def differing(by: float, tokens: int = 8) -> Comparison:
    """All log-probs of the sampler are larger by this."""
    actor = np.full((1, tokens), -3.0)
    return compare(LogProbs(actor + by, actor, np.ones((1, tokens), bool)), top_k=1)


@pytest.mark.parametrize(
    ("by", "names"),
    [
        (0.0, []),
        (0.09, []),
        (0.11, ["engine_kl"]),
        (-0.11, ["engine_kl"]),
        (0.71, ["importance_mean", "engine_kl"]),
        (-0.71, ["importance_mean", "engine_kl"]),
    ],
)
def test_each_bound_has_its_alarm(by, names):
    found = differing(by)
    assert [alarm.name for alarm in alarms_of(found, found)] == names


def test_a_few_tokens_that_decide_the_update_are_an_alarm():
    actor = np.full((1, 8), -3.0)
    actor[0, 0] = 0.0
    rollout = np.full((1, 8), -3.0)
    found = compare(LogProbs(rollout, actor, np.ones((1, 8), bool)), top_k=1)
    assert "effective_sample_size" in [alarm.name for alarm in alarms_of(found, None)]


def test_what_older_weights_do_is_no_alarm_of_the_engine():
    assert alarms_of(differing(0.3), None) == [] == alarms_of(differing(0.3), differing(0.01))


def test_log_probs_that_are_not_finite_are_an_alarm_of_their_own():
    actor = np.full((1, 4), -3.0)
    found = compare(
        LogProbs(np.where([True, False, False, False], np.nan, actor), actor, np.ones((1, 4), bool)), top_k=1
    )
    assert [alarm.name for alarm in alarms_of(found, found)] == ["not_finite"]


def test_an_iteration_without_tokens_raises_no_alarm():
    nothing = compare(LogProbs(np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((1, 2), bool)), top_k=1)
    assert alarms_of(nothing, nothing) == []


def test_a_line_names_figure_bound_and_what_to_look_at():
    alarm = lost_update(2, 3)
    assert "in iteration 4: samples of the weights before iteration 2" in alarm.line(
        4
    ) and "look at how weights reach" in alarm.line(4)

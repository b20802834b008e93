# SPDX-License-Identifier: Apache-2.0
"""Claims about the bounds of the classes."""

import pytest

from ntl_jax.metrics.divergence.token_classes import flip_type


@pytest.mark.parametrize(
    ("rollout", "actor", "flip"),
    [
        (0.51, 0.19, "rollout_confident_actor_rejects"),
        (0.19, 0.51, "actor_confident_rollout_rejects"),
        (0.5, 0.1, "both_unsure"),
        (0.9, 0.2, "both_unsure"),
        (0.2, 0.9, "both_unsure"),
        (None, 0.2, None),
        (0.9, None, None),
    ],
)
def test_a_flip_needs_one_side_that_is_sure_and_one_that_rejects(rollout, actor, flip):
    assert flip_type(rollout, actor) == flip

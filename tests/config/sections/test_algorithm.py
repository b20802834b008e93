# SPDX-License-Identifier: Apache-2.0
"""Settings of the algorithm that follow from others."""

import dataclasses

from ntl_jax.config import AlgorithmSection


def test_without_a_critic_no_iteration_is_for_the_critic_alone():
    section = AlgorithmSection(critic_warmup=3)
    assert section.warmup_iterations == 0
    assert dataclasses.replace(section, advantage="gae").warmup_iterations == 3

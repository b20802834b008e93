# SPDX-License-Identifier: Apache-2.0
"""The parts of an iteration add up to all of it."""

import time

from ntl_jax.metrics.clock import Clock


def test_laps_of_one_part_add_up_and_all_laps_give_the_whole_time():
    began = time.perf_counter()
    clock = Clock()
    started = time.perf_counter()
    for part in ("gen", "update", "gen"):
        time.sleep(0.002)
        clock.lap(part)
    assert list(clock.seconds) == ["gen", "update"]
    assert clock.seconds["gen"] >= 0.004 and clock.seconds["update"] >= 0.002
    total = sum(clock.seconds.values())
    assert 0.006 <= total <= time.perf_counter() - began and total <= time.perf_counter() - started + 1.0

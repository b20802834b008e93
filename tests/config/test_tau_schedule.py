# SPDX-License-Identifier: Apache-2.0
"""Temperature schedules say what they do, and reach their ends."""

import math

import pytest

from ntl_jax.config import parse_schedule


@pytest.mark.parametrize(
    ("text", "iteration", "expected"),
    [
        ("linear:1.0->0.3@500", 0, 1.0),
        ("linear:1.0->0.3@500", 125, 0.825),
        ("linear:1.0->0.3@500", 500, 0.3),
        ("linear:1.0->0.3@500", 10_000, 0.3),
        ("linear:0.5->2@10", 5, 1.25),
        ("cosine:2.0->1.0@100", 0, 2.0),
        ("cosine:2.0->1.0@100", 25, 1.5 + 0.5 * math.cos(math.pi / 4)),
        ("cosine:2.0->1.0@100", 50, 1.5),
        ("cosine:2.0->1.0@100", 101, 1.0),
        ("exponential:4->1@100", 50, 2.0),
        ("exponential:4->1@100", 100, 1.0),
        ("exponential:1e0->1e-2@2", 1, 0.1),
    ],
)
def test_the_temperature_of_an_iteration(text, iteration, expected):
    schedule = parse_schedule(text)
    assert schedule is not None
    assert schedule.at(iteration) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    ["", "linear", "linear:1->0@10", "linear:1->-1@10", "linear:1->2@0", "linear:1->2", "steps:1->2@3", "cosine:a->b@3",
     "linear:1->1e999@5", "linear:1->2@3 "],
)  # fmt: skip
def test_what_is_no_schedule_is_none(text):
    assert parse_schedule(text) is None

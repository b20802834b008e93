# SPDX-License-Identifier: Apache-2.0
"""A range of iterations is read as it is typed, and refused if the run will not reach it."""

import pytest

from ntl_jax.profile_range import check_range, read_range, written_range


@pytest.mark.parametrize("text", ["3", "12:10", "0:2", "1:2:3", "a:b", "", "1.5:2", "-1:2"])
def test_what_is_no_range_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"must be FIRST:LAST, whole numbers from 1 on, such as 10:12"):
        read_range(text)


def test_a_range_is_written_as_it_is_read():
    assert written_range(read_range(" 7:7 ")) == "--profile=7:7"


@pytest.mark.parametrize(
    ("steps", "done", "says"),
    [
        (11, 0, r"--profile=10:12: the run has 11 iterations \(trainer.steps\): choose iterations up to 11"),
        (0, 0, r"--profile=10:12: the run has no iterations of PPO \(trainer.steps=0\): leave --profile out"),
        (40, 10, r"--profile=10:12: the run continues after iteration 10: choose iterations from 11 to 40"),
        (40, 40, r"--profile=10:12: the run is done, after 40 iterations: raise trainer.steps, or leave"),
    ],
)
def test_iterations_that_a_run_will_not_reach_are_refused(steps, done, says):
    with pytest.raises(ValueError, match=says):
        check_range((10, 12), steps, done=done)


@pytest.mark.parametrize("taken", [((10, 12), 12, 9), ((1, 1), 12, 0), (None, 0, 0)])
def test_iterations_that_are_left_are_taken(taken):
    iterations, steps, done = taken
    assert check_range(iterations, steps, done=done) is None

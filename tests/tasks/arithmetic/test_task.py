# SPDX-License-Identifier: Apache-2.0
"""The built-in generator as a task: its problems, as a prompt shows them and with the answers that it takes."""

from ntl_jax.tasks import Arithmetic

TASK = Arithmetic(num_train=30, num_held_out=10, seed=0, tiers=(1, 2))


def test_splits_have_their_sizes_share_no_question_and_stay_the_same():
    (train, skipped), (held_out, _) = TASK.load("train"), TASK.load("held_out")
    assert (len(train), len(held_out), skipped) == (30, 10, 0)
    assert {p.question for p in train}.isdisjoint(p.question for p in held_out)
    assert TASK.load("train")[0] == train


def test_every_solution_is_right_by_the_tasks_own_reading_and_no_other_answer_is():
    for problem in TASK.load("train")[0]:
        answer = TASK.answer_of(problem.solution)
        assert TASK.is_correct(answer, problem.ground_truth)
        assert not TASK.is_correct(answer, f"{problem.ground_truth}1")
        assert not TASK.is_correct(TASK.answer_of("no idea"), problem.ground_truth)

# SPDX-License-Identifier: Apache-2.0
"""Generators of reasoning-gym are tasks: no question is in both splits, and their own scorers say what is right."""

from typing import Any

import pytest
import reasoning_gym

from ntl_jax.numerals import reference_number
from ntl_jax.tasks import ReasoningGym, Undecided
from ntl_jax.tasks.gym import NUMERIC


def gym(name: str, num_train: int = 20, num_held_out: int = 10, seed: int = 0, **options: Any) -> ReasoningGym:
    return ReasoningGym(name, num_train=num_train, num_held_out=num_held_out, seed=seed, options=options)


@pytest.mark.parametrize("name", ["chain_sum", "gcd", "fraction_simplification", "number_format", "coin_flip"])
def test_problems_differ_their_solutions_are_right_and_another_number_is_not(name):
    task = gym(name)
    train, held_out = task.load("train")[0], task.load("held_out")[0]
    questions = [problem.text for problem in [*train, *held_out]]
    assert len(set(questions)) == len(questions) and (len(train), len(held_out)) == (20, 10)
    assert [problem.index for problem in train] == list(range(20))
    for problem in [*train, *held_out]:
        assert task.is_correct(task.answer_of(problem.solution), problem.ground_truth)
        assert task.is_correct(task.answer_of(f"So the answer is {problem.ground_truth}."), problem.ground_truth)
        assert not task.is_correct(task.answer_of("-12345.678"), problem.ground_truth)
        assert not task.is_correct(None, problem.ground_truth)


def test_problems_are_the_generators_and_right_is_what_its_scorer_says():
    generator = reasoning_gym.create_dataset("chain_sum", size=100, seed=0)
    entries = {entry["question"]: entry for entry in generator}
    task = gym("chain_sum")
    for problem in task.load("train")[0]:
        entry = entries[problem.text]
        for said in (problem.ground_truth, "12", f"{problem.ground_truth}.5"):
            right = generator.score_answer(said, entry) == 1
            assert task.is_correct(task.answer_of(said), problem.ground_truth) == right


def test_more_problems_begin_with_the_same_ones_and_another_seed_with_others():
    few, many, others = (gym("chain_sum", n, seed=seed).load("train")[0] for n, seed in ((5, 0), (20, 0), (5, 1)))
    assert many[:5] == few != others


def test_a_generator_that_has_only_a_few_problems_gives_all_of_them_once():
    problems = gym("coin_flip", num_train=1000, num_held_out=1000, min_trials="1", max_trials="6")
    train, held_out = (problems.load(split)[0] for split in ("train", "held_out"))
    assert 20 < len(train) + len(held_out) < 80 and not {p.text for p in train} & {p.text for p in held_out}


def test_a_number_is_the_same_however_it_is_written_but_a_fraction_must_be_the_simplified_one():
    task = gym("products")
    (problem, *_), _ = task.load("train")
    assert task.is_correct(task.answer_of(f"${int(problem.ground_truth):,}.00"), problem.ground_truth)
    task = gym("fraction_simplification")
    problem = next(problem for problem in task.load("train")[0] if problem.ground_truth[0].isdigit())
    above, below = map(int, problem.ground_truth.split("/"))
    assert reference_number(f"{3 * above}/{3 * below}") is not None
    assert not task.is_correct(task.answer_of(f"{3 * above}/{3 * below}"), problem.ground_truth)


def test_options_are_the_generators():
    (problem, *_), _ = gym("chain_sum", min_terms="2", max_terms="2", allow_negation="true").load("train")
    assert len([word for word in problem.text.split() if word.lstrip("-").isdigit()]) == 2


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        (
            "chain_sums",
            {},
            r"data\.task='reasoning_gym:chain_sums': there is no such generator; did you mean chain_sum",
        ),
        ("caesar_cipher", {}, "its answers are not numbers; "),
        ("xyz", {}, "there is no such generator; there are aiw, basic_arithmetic"),
        ("chain_sum", {"terms": "3"}, r"data\.task_options: .*chain_sum' has no option terms; it has min_terms"),
        ("chain_sum", {"size": "3"}, "has no option size"),
        ("chain_sum", {"min_terms": "0"}, r"data\.task_options: chain_sum does not take them: min_terms must be"),
        ("chain_sum", {"min_terms": "many"}, r"data\.task_options: chain_sum does not take them"),
    ],
)
def test_wrong_names_and_options_are_answered_with_what_there_is(name, options, says):
    with pytest.raises(ValueError, match=says):
        gym(name, **options)


def test_problems_that_a_generator_cannot_make_are_stepped_over_unless_it_makes_none():
    assert len(gym("maze", min_dist="7", max_dist="7", min_grid_size="5", max_grid_size="6").load("train")[0]) == 20
    with pytest.raises(
        ValueError, match=r"data\.task_options=\('min_dist=90', 'max_dist=99'\): maze takes them, and the"
    ):
        gym("maze", min_dist="90", max_dist="99").load("train")


def test_an_answer_on_which_the_scorer_fails_is_undecided():
    task = gym("chain_sum")
    (problem, *_), _ = task.load("train")
    task._entries[problem.ground_truth] = {}
    with pytest.raises(Undecided, match=r"data\.task='reasoning_gym:chain_sum': its scorer fails with '1'"):
        task.is_correct(task.answer_of("1"), problem.ground_truth)


@pytest.mark.slow
def test_the_named_generators_exist_and_their_answers_are_numbers():
    for name in NUMERIC:
        assert len(gym(name, num_train=3, num_held_out=0).load("train")[0]) == 3

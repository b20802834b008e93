# SPDX-License-Identifier: Apache-2.0
"""Generated problems are right, different, reproducible, and never both for training and held out."""

import re

import pytest

from ntl_jax.tasks.arithmetic.generator import generate_problems, held_out_between

EQUATION = re.compile(r"(-?\d+)([-+*/])(\d+)=<<\1\2\3=(-?\d+)>>\4(?!\d)")


def numbers(text):
    return [int(n) for n in re.findall(r"\d+", text)]


@pytest.mark.parametrize("tier", [1, 2, 3, 4])
def test_every_equation_holds_and_the_last_one_gives_the_answer(tier):
    for problem in generate_problems(400, seed=tier, tiers=(tier,)):
        body, answer = problem.solution.rsplit("\n", 1)
        equations = EQUATION.findall(body)
        assert len(equations) == tier == body.count("<<")
        for left, op, right, result in equations:
            # Multiplied out, so that a division which leaves a rest is not forgiven.
            x, y, z = int(left), int(right), int(result)
            assert x == y * z if op == "/" else z == {"+": x + y, "-": x - y, "*": x * y}[op]
        assert answer == f"#### {equations[-1][-1]}" == f"#### {problem.ground_truth}"


@pytest.mark.parametrize("tier", [1, 2, 3, 4])
def test_steps_use_numbers_of_the_question_or_earlier_results(tier):
    for problem in generate_problems(200, seed=tier, tiers=(tier,)):
        known = {*map(str, numbers(problem.text)), "2", "4"}
        for left, _, right, result in EQUATION.findall(problem.solution):
            assert {left, right} <= known
            known.add(result)


def test_the_same_seed_gives_the_same_problems_and_another_seed_others():
    assert generate_problems(50, seed=3) == generate_problems(50, seed=3)
    assert generate_problems(50, seed=3) != generate_problems(50, seed=4)


def test_the_text_of_a_seed_stays_what_it_was():
    problem = generate_problems(1, seed=0, tiers=(1,))[0]
    assert problem.text == "Anna has 33 shells. Lily has 27 fewer. How many shells does Lily have?"
    assert problem.solution == "Lily has 33-27=<<33-27=6>>6.\n#### 6"


def test_an_index_stands_for_the_same_problem_whatever_the_count():
    long = generate_problems(60, seed=0)
    assert generate_problems(20, seed=0) == long[:20]
    assert [problem.index for problem in long] == list(range(60))


def test_the_order_of_tiers_means_nothing():
    assert generate_problems(20, seed=0, tiers=(2, 1, 1)) == generate_problems(20, seed=0, tiers=(1, 2))


def test_no_question_occurs_twice():
    questions = [problem.text for problem in generate_problems(3_000, seed=0, tiers=(1,), max_number=10)]
    assert len(set(questions)) == len(questions)


def test_training_and_held_out_questions_are_disjoint_for_different_and_equal_seeds():
    settings = {"tiers": (1,), "max_number": 5}  # so few that undivided draws would surely meet
    held_out = {p.text for p in generate_problems(1_500, seed=0, split="held_out", **settings)}
    for seed in (0, 1):
        assert held_out.isdisjoint(p.text for p in generate_problems(4_500, seed=seed, **settings))


def test_numbers_of_the_low_tiers_stay_in_range():
    problems = generate_problems(1_000, seed=0, tiers=(1, 2), max_number=30)
    assert max(max(numbers(p.text)) for p in problems) == 30
    assert max(max(numbers(p.solution)) for p in problems) <= 90
    assert all(int(p.ground_truth) >= 2 for p in problems)


@pytest.mark.parametrize("tier", [3, 4])
def test_the_upper_tiers_have_negative_answers_and_answers_of_four_digits(tier):
    answers = [int(p.ground_truth) for p in generate_problems(500, seed=0, tiers=(tier,))]
    assert sum(answer < 0 for answer in answers) > 25
    assert sum(abs(answer) >= 1000 for answer in answers) > 50


def test_tiers_have_equal_shares():
    steps = [p.solution.count("<<") for p in generate_problems(2_000, seed=0, tiers=(1, 3))]
    assert set(steps) == {1, 3}
    assert 900 < steps.count(1) < 1100


def test_asking_for_more_problems_than_there_are_says_how_many_there_are():
    with pytest.raises(
        ValueError, match=r"data.num_train=100000: .* only about \d+ different .*raise data.max_number or"
    ):
        generate_problems(100_000, seed=0, tiers=(1,), max_number=5, patience=1)


def test_settings_out_of_range_are_all_named_at_once():
    with pytest.raises(ValueError, match=r"num=-1.*split='test'.*tiers=\(0, 5\).*max_number=1"):
        generate_problems(-1, seed=0, split="test", tiers=(0, 5), max_number=1)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("operation", ["+", "-", "*", "/"])
def test_problems_of_a_range_hold_out_one_operation_with_a_number_in_the_range(operation):
    problems = held_out_between(10, 100, 60, seed=0, tier=1, operation=operation)
    assert len(problems) == 60
    for problem in problems:
        (equation,) = EQUATION.findall(problem.solution)
        assert equation[1] == operation and 10 < max(numbers(problem.text)) <= 100
    trained = generate_problems(2000, seed=0, tiers=(1,), max_number=100)
    assert not {problem.text for problem in problems} & {problem.text for problem in trained}


def test_the_ranges_of_several_steps_are_ten_times_as_far():
    for problem in held_out_between(10, 20, 60, seed=0, tier=3):
        assert 100 < max(numbers(problem.text)) <= 200


def test_a_range_with_few_problems_gives_those_that_there_are():
    few = held_out_between(0, 5, 500, seed=0, tier=1, operation="/")
    assert 0 < len(few) < 500 and few == held_out_between(0, 5, 600, seed=0, tier=1, operation="/")

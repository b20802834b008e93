# SPDX-License-Identifier: Apache-2.0
"""The suite's parts hold the numbers and operations that they say, and nothing that a policy was trained on."""

import collections
import json
import re

import pytest

from ntl_jax.config import DataSection
from ntl_jax.tasks import NumericSuite, ReasoningGym, choose_task
from ntl_jax.tasks.gym import QUANTITIES

WORDS = DataSection(tiers=(1,), max_number=10, num_train=500)
SUMS = DataSection(task="calculations", operations=("+", "*"), max_number=50, num_train=5000)
NO_TASKS = DataSection(train=("train.jsonl",), eval=("eval.jsonl",))


def numbers(text: str) -> list[int]:
    return [int(found) for found in re.findall(r"\d+", text)]


def generated(num: int, trained: DataSection | None = None) -> NumericSuite:
    return NumericSuite(num, trained, generators=())


@pytest.mark.parametrize("trained", [None, WORDS, SUMS, DataSection(tiers=(3,), max_number=8)])
def test_the_largest_number_of_each_question_is_in_the_range_of_its_part(trained):
    for part in generated(12, trained).parts:
        assert part.numbers is not None and 0 < len(part.problems) <= 12
        low, high = part.numbers
        assert all(low < max(numbers(problem.text)) <= high for problem in part.problems), part.name


def test_each_question_asks_for_the_operation_of_its_part():
    for part in generated(12).parts:
        for problem in part.problems:
            found = re.findall(r"\d ?([-+*/]) ?\d", problem.text if part.kind == "calculations" else problem.solution)
            assert {*found} == {part.operation} if part.operation else len({*found}) >= 1


@pytest.mark.parametrize("trained", [WORDS, SUMS])
def test_no_problem_of_the_suite_was_trained_on(trained):
    task = choose_task(trained, seed=3, num_eval=1, numeric=True)
    asked = {problem.text for problem in task.load("train")[0]}
    suite, _ = generated(50, trained).load("held_out")
    assert len(asked) >= 500 and not asked & {problem.text for problem in suite}


def test_interpolation_is_what_was_trained_on_and_extrapolation_more_of_it():
    reach = {part.name: part.reach for part in generated(2, WORDS).parts}
    assert reach["words +, to 10"] == reach["words /, to 10"] == "interpolation"
    assert reach["words +, 11 to 100"] == reach["words 2 steps, to 10"] == "extrapolation"
    assert reach["calculations +, to 10"] is None
    reach = {part.name: part.reach for part in generated(2, SUMS).parts}
    assert reach["calculations *, to 50"] == "interpolation" and reach["calculations -, to 50"] is None
    assert reach["calculations +, 501 to 5,000"] == "extrapolation" and reach["words +, to 10"] is None


@pytest.mark.parametrize("trained", [None, NO_TASKS, DataSection(task="mine.py:Mine")])
def test_nothing_is_said_of_a_policy_whose_training_is_another(trained):
    assert {part.reach for part in generated(2, trained).parts} == {None}


def test_names_and_numbers_of_problems_tell_them_apart():
    suite = generated(5)
    problems, skipped = suite.load("held_out")
    assert len({part.name for part in suite.parts}) == len(suite.parts) and skipped == 0
    assert len({(problem.source_index, problem.index) for problem in problems}) == len(problems)
    assert all(suite.parts[problem.source_index].name == problem.data_source for problem in problems)


def test_ranges_end_where_the_generator_does():
    names = [part.name for part in generated(2, DataSection(tiers=(4,), max_number=50_000)).parts]
    assert "words 4 steps, to 500,000" in names and "words 4 steps, 500,001 to 5,000,000" in names
    assert not [name for name in names if "5,000,001" in name]


def test_a_run_on_a_generator_of_reasoning_gym_is_asked_with_its_options():
    pytest.importorskip("reasoning_gym")
    trained = DataSection(task="reasoning_gym:count_bits", task_options=("max_n=20",))
    suite = NumericSuite(3, trained, generators=("gcd",))
    parts = {part.name: part for part in suite.parts if part.kind == "reasoning_gym"}
    assert {name: part.reach for name, part in parts.items()} == {"gym count_bits": "interpolation", "gym gcd": None}
    assert all(max(numbers(problem.text)) <= 20 for problem in parts["gym count_bits"].problems)


def test_every_generator_of_quantities_has_numbers_that_are_right_as_its_scorer_has_them():
    pytest.importorskip("reasoning_gym")
    suite = NumericSuite(2)
    assert "without" not in suite.about
    parts = {part.name.removeprefix("gym "): part for part in suite.parts if part.kind == "reasoning_gym"}
    assert sorted(parts) == sorted(QUANTITIES)
    for name, part in parts.items():
        gym = ReasoningGym(name, num_train=0, num_held_out=2, seed=0, options={})
        assert gym.load("held_out")[0] == part.problems
        for problem in part.problems:
            for said in (problem.ground_truth, "12345.678"):
                answer = suite.answer_of(said)
                assert suite.is_correct(answer, problem.ground_truth) == gym.is_correct(answer, problem.ground_truth)


def test_each_file_is_a_part_that_is_asked_whole_unless_a_number_is_given(tmp_path):
    files = []
    for name in ("one", "two"):
        rows = [{"question": f"{name} {i}?", "answer": f"so\n#### {i}"} for i in range(7)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        files.append(str(tmp_path / f"{name}.jsonl"))

    def counts(**rest):
        problems, _ = NumericSuite(2, files=files, generators=(), **rest).load("held_out")
        return collections.Counter(problem.data_source for problem in problems if "file" in problem.data_source)

    assert counts() == {f"file {name}": 7 for name in files}
    assert counts(num_of_file=3) == {f"file {name}": 3 for name in files}

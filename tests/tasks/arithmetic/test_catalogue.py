# SPDX-License-Identifier: Apache-2.0
"""The catalogue's templates are what their tiers promise."""

import re

import pytest

from ntl_jax.tasks.arithmetic.catalogue import TEMPLATES

every_template = pytest.mark.parametrize("template", TEMPLATES, ids=[f"{i}" for i in range(len(TEMPLATES))])


def test_there_are_at_least_twenty_templates_and_every_tier_has_some():
    assert len(TEMPLATES) >= 20
    assert {template.tier for template in TEMPLATES} == {1, 2, 3, 4}
    assert len({template.question for template in TEMPLATES}) == len(TEMPLATES)


@every_template
def test_a_template_has_as_many_steps_as_its_tier_and_uses_every_number(template):
    operands = {operand for _, left, _, right in template.steps for operand in (left, right)}
    assert len(template.steps) == template.tier == template.solution.count("[")
    assert set(template.numbers) <= operands
    assert set(template.small) <= set(template.numbers)


@every_template
def test_every_step_but_the_last_is_used_by_a_later_one(template):
    results = [result for result, *_ in template.steps]
    for i, result in enumerate(results[:-1]):
        assert any(result in (left, right) for _, left, _, right in template.steps[i + 1 :])


@every_template
def test_multipliers_and_divisors_are_small(template):
    for _, left, op, right in template.steps:
        if op == "/":
            assert right.isdigit() or right in template.small
        if op == "*":
            assert right.isdigit() or {left, right} & set(template.small)


@pytest.mark.parametrize("tier", [1, 2, 3, 4])
def test_a_tier_has_all_four_operators(tier):
    assert {op for t in TEMPLATES if t.tier == tier for _, _, op, _ in t.steps} == set("+-*/")


def test_solutions_name_only_the_words_that_questions_name():
    for template in TEMPLATES:
        assert set(re.findall(r"\{(\w\w+)\}", template.solution)) <= set(re.findall(r"\{(\w\w+)\}", template.question))

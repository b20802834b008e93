# SPDX-License-Identifier: Apache-2.0
"""A pattern has one group, which is the answer."""

import pytest

from ntl_jax.config import AnswerSection, RunConfig
from ntl_jax.config.validation import find_problems


@pytest.mark.parametrize("pattern", ["answer", "(a) (b)", "answer is (", "(?P<n>a", "()()"])
def test_a_pattern_without_exactly_one_group_is_refused(pattern):
    (problem,) = find_problems(RunConfig(answer=AnswerSection(pattern=pattern)))
    assert problem.startswith(f"answer.pattern={pattern!r}: must be a regular expression with exactly one group")


@pytest.mark.parametrize("pattern", ["is (.*)", "(?:a|b)(c)", r"\((?P<answer>[^)]*)\)", "(?i)answer: (.*)"])
def test_a_pattern_with_one_group_is_taken(pattern):
    assert find_problems(RunConfig(answer=AnswerSection(pattern=pattern))) == []

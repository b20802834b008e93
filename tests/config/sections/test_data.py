# SPDX-License-Identifier: Apache-2.0
"""The names of tasks, and which of them are files."""

import pytest

from ntl_jax.config import DataSection, RunConfig, is_own
from ntl_jax.config.validation import find_problems


@pytest.mark.parametrize("task", ["mine.py:Mine", "~/a b/mine.py:Mine2", "C:/a/mine.py:_M"])
def test_a_class_in_a_file_is_a_task_of_ones_own(task):
    assert is_own(task) and find_problems(RunConfig(data=DataSection(task=task))) == []


@pytest.mark.parametrize("task", ["mine.py", "mine:Mine", "mine.py:", "mine.py:2", "sums", "reasoning_gym:"])
def test_other_texts_are_not(task):
    assert not is_own(task)
    (problem,) = find_problems(RunConfig(data=DataSection(task=task)))
    assert "must be None, calculations, reasoning_gym:NAME or PATH.py:Class" in problem

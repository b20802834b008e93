# SPDX-License-Identifier: Apache-2.0
"""Tasks: problems, and when an answer is right. Files of problems, a problem generator, or a task of your own."""

from ntl_jax.tasks.arithmetic.generator import generate_problems
from ntl_jax.tasks.arithmetic.task import Arithmetic
from ntl_jax.tasks.calculations import Calculations
from ntl_jax.tasks.choose import TwoSources, check_apart, choose_task, source_name, without_problems
from ntl_jax.tasks.files import Files
from ntl_jax.tasks.gym import ReasoningGym
from ntl_jax.tasks.judged import JudgedTask, describe_answers
from ntl_jax.tasks.numeric_suite import NumericSuite, Part
from ntl_jax.tasks.task import Task, Undecided

__all__ = [
    "Arithmetic",
    "Calculations",
    "Files",
    "JudgedTask",
    "NumericSuite",
    "Part",
    "ReasoningGym",
    "Task",
    "TwoSources",
    "Undecided",
    "check_apart",
    "choose_task",
    "describe_answers",
    "generate_problems",
    "source_name",
    "without_problems",
]

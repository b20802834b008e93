# SPDX-License-Identifier: Apache-2.0
"""Most equations in the styles of language models are read, and no truth is wrong.

``solutions.jsonl`` is written by ``tools/make_solutions.py``; all of its results are right.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys

import pytest

from ntl_jax.numerals import find_equations

FILE = pathlib.Path(__file__).parent / "solutions.jsonl"
ROOT = pathlib.Path(__file__).parents[2]
SOLUTIONS = [json.loads(line) for line in FILE.read_text("utf-8").splitlines()]

# "expression = number", with any marks in between: an operator between two numbers, an equals sign, and a number that
# is not followed by an operator.
OPERATOR = r"(?:[-+*/×÷−]|(?<![a-z])x(?![a-z])|\\times|\\cdot|\\div|\\?%\sof|\}\{)"
EXPRESSION_IS_NUMBER = re.compile(
    rf"[0-9][^=\n]*?{OPERATOR}[^=\n]*?[0-9][^=\n]*?(?:\\\\)?\n?[\s&]*=[\s&*`$(\\{{]*(?:boxed\{{|text\{{)?[$\\]*"
    rf"(?P<result>-?\$?[0-9][0-9,]*(?:\.[0-9]+)?)(?!\s*{OPERATOR})"
)


def test_the_file_is_the_output_of_its_tool(tmp_path):
    subprocess.run([sys.executable, ROOT / "tools" / "make_solutions.py", tmp_path / FILE.name], check=True)
    assert (tmp_path / FILE.name).read_bytes() == FILE.read_bytes()
    assert len(SOLUTIONS) == 300


@pytest.mark.parametrize("style", ["prose", "markdown", "latex", "display", "chat"])
def test_most_equations_of_every_style_are_read_and_none_is_contradicted(style):
    texts = [row["solution"] for row in SOLUTIONS if row["style"] == style]
    written = sum(len(EXPRESSION_IS_NUMBER.findall(text)) for text in texts)
    equations = [equation for text in texts for equation in find_equations(text)]
    assert written > 120
    assert len(equations) >= 0.85 * written
    assert [e for e in equations if e.result.canonical != e.truth.canonical] == []


def test_a_wrong_digit_is_contradicted_or_has_no_truth_and_most_are_contradicted():
    outcomes = collections.Counter()
    for row in SOLUTIONS:
        text = row["solution"]
        for result, truth in list(find_equations(text)):
            for at in result.offsets:
                mutated = f"{text[:at]}{(int(text[at]) + 1) % 10}{text[at + 1 :]}"
                found = {e.result.offsets[0]: e.truth.canonical for e in find_equations(mutated)}
                assert found.get(result.offsets[0], truth.canonical) == truth.canonical, mutated
                outcomes["contradicted" if result.offsets[0] in found else "no truth"] += 1
    assert outcomes["contradicted"] > 0.7 * outcomes.total()

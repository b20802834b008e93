# SPDX-License-Identifier: Apache-2.0
"""Checks whole GSM8K files for what the tests check on ten rows: python tools/check_gsm8k.py FILE...

Every row loads; every answer is read as by GSM8K's own scorer; equations are found with and without their annotations,
and nearly all of them hold; the built-in tokenizer decodes every text unchanged.
"""

import argparse
import pathlib
import re
import sys
from collections.abc import Iterator, Sequence

from ntl_jax.data import Problem, load_tokenizer
from ntl_jax.data.files import load_problems
from ntl_jax.numerals import find_answer, find_equations

SCORER = re.compile(r"#### (\-?[0-9\.\,]+)")
WRITTEN = re.compile(r"=\s*\$?[0-9]")
LEAST_READ = {"annotated": 0.975, "plain": 0.8}
"""Least share of equations read, out of two per annotation, and out of equals signs before a number."""
MOST_WRONG = {"annotated": 0.0005, "plain": 0.001}
"""Largest share of equations read whose result differs from their truth: the files contain some mistakes."""


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 if every check passes, 1 if not.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", metavar="FILE", type=pathlib.Path, nargs="+")
    num_problems = 0
    for file in parser.parse_args(argv).files:
        problems, _ = load_problems([str(file)])
        print(f"{file}: {len(problems)} rows")
        for line in [*find_misread(problems), *find_faults(problems), *find_changed(problems)]:
            print(f"  {line}")
            num_problems += 1
    return int(num_problems > 0)


def find_misread(problems: Sequence[Problem]) -> Iterator[str]:
    """Rows whose answer is read differently by GSM8K's scorer."""
    for problem in problems:
        answer, own = find_answer(problem.solution), SCORER.findall(problem.solution)[0].replace(",", "")
        if answer is None or answer.text != own:
            yield f"row {problem.index}: the answer is read as {answer and answer.text}, the scorer reads {own}"


def find_faults(problems: Sequence[Problem]) -> Iterator[str]:
    """Shares of equations that are out of bounds; prints all shares."""
    for kind in LEAST_READ:
        texts = [p.solution if kind == "annotated" else re.sub("<<.*?>>", "", p.solution) for p in problems]
        written = sum(2 * text.count(">>") if kind == "annotated" else len(WRITTEN.findall(text)) for text in texts)
        equations = [equation for text in texts for equation in find_equations(text)]
        wrong = sum(e.result.canonical != e.truth.canonical for e in equations)
        found, share = len(equations) / written, wrong / len(equations)
        print(f"  {kind}: {len(equations):,} equations read, {found:.1%} of those written; {wrong} do not hold")
        if found < LEAST_READ[kind] or share > MOST_WRONG[kind]:
            yield f"{kind}: at least {LEAST_READ[kind]:.1%} must be read and at most {MOST_WRONG[kind]:.2%} not hold"


def find_changed(problems: Sequence[Problem]) -> Iterator[str]:
    """Texts that the built-in tokenizer does not decode unchanged."""
    tokenizer = load_tokenizer()
    for problem in problems:
        for text in (problem.text, problem.solution):
            if tokenizer.decode(tokenizer(text)["input_ids"]) != text:
                yield f"row {problem.index}: {text!r} does not come back from the tokenizer"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# SPDX-License-Identifier: Apache-2.0
"""The cost of finding equations: labeling long responses with `all_tokens`, compared with `final_answer`.

Claim: on responses without equations, `all_tokens` costs as much as `final_answer`. Lines shared by the samples of a
prompt are read once.

    python -m benchmarks.equations           # writes benchmarks/results/equations.json
    python -m benchmarks.equations --quick   # few repetitions, as a smoke test

Every response has 14,800 characters, about 3,700 tokens. `fresh` measures a response none of whose lines has been read
before.
"""

import argparse
import json
import re
from collections.abc import Callable

import numpy as np

from benchmarks.measure import RESULTS, machine, ratio, write
from ntl_jax.numerals import find_answer, label_response
from ntl_jax.numerals.equations import finder
from ntl_jax.numerals.labels import Mode

LENGTH = 14_800
LINE = "We first compute the cost of all of the apples, and then add the price of the pears to it.\n"
TEXTS = {
    "prose": LINE * 200,
    "latex_without_results": "Let \\(x = a + b\\) and \\[ y = \\frac{a}{b} \\cdot \\sqrt{z} \\] so that $f(x) = y^2$.\n"
    * 200,
    "mixed": "".join(
        f"{LINE}{LINE}\\[ {n} \\times 3 = {3 * n} \\]\nSo she pays ${n} + $3 = ${n + 3}.\n" for n in range(90)
    ),
    "dense": "".join(f"{n} + {7 * n % 97} = {n + 7 * n % 97}\n" for n in range(1500)),
}


def labeler(text: str, mode: Mode, *, fresh: bool) -> Callable[[], object]:
    """A call that labels a text, with each digit as one token, after clearing the caches."""
    tokens = re.findall(r"[0-9]|[^0-9]{1,4}", text)
    starts = np.cumsum([0, *map(len, tokens)])[:-1].astype(np.int32)
    digits = np.array([int(t) if t.isdigit() else -1 for t in tokens], np.int32)

    def label() -> object:
        if fresh:
            finder._equations_of_line.cache_clear()
        return label_response(text, starts, digits, "5", answer=find_answer(text), mode=mode)

    return label


def main() -> None:
    """Measures all texts and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    result = {"machine": machine(), "characters": LENGTH, "all_tokens_over_final_answer": {}}
    for name, text in TEXTS.items():
        text = text[:LENGTH]
        baseline = labeler(text, "final_answer", fresh=True)
        result["all_tokens_over_final_answer"][name] = {
            kind: ratio(baseline, labeler(text, "all_tokens", fresh=kind == "fresh"), 3 if quick else 41)
            for kind in ("fresh", "seen")
        }
    print(json.dumps(result, indent=1))
    if not quick:
        write(result, RESULTS / "equations.json")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Written rows read back as the same problems, and a part that is split off shares no question with the rest."""

import dataclasses
import json

import pytest

from ntl_jax.data import Problem
from ntl_jax.data.files import load_problems
from ntl_jax.data.files.write import problem_row, split_off

TURNS = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+3?"})
PROBLEMS = [
    Problem(0, "2+3?", "2+3=<<2+3=5>>5.\n#### 5", "5", "mine"),
    Problem(1, TURNS, "5", "5", "mine", {"index": 3, "solution": "none"}),
    Problem(2, "1/2?\n", r"\boxed{\frac{1}{2}}", "0.5", "other"),
    Problem(3, "Which city?", "On the Seine.", "#1 Paris", "other"),
]


def test_written_rows_read_back_as_the_same_problems(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(problem_row(problem)) for problem in PROBLEMS))
    assert load_problems([str(tmp_path / "a.jsonl")], numeric=False) == (PROBLEMS, 0)


@pytest.mark.parametrize("count", [0, 1, 7, 30])
def test_a_question_stays_on_one_side_and_the_draw_depends_on_the_seed_alone(count):
    problems = [dataclasses.replace(PROBLEMS[0], index=i, question=f"{i % 20}?") for i in range(30)]
    rest, chosen = split_off(problems, count, seed=1)
    assert len(chosen) in (count - 1, count) and len(rest) + len(chosen) == 30
    assert not {p.text for p in rest} & {p.text for p in chosen}
    assert [p.index for p in rest] == sorted(p.index for p in rest)
    assert (rest, chosen) == split_off(problems, count, seed=1)
    assert count in (0, 30) or chosen != split_off(problems, count, seed=2)[1]

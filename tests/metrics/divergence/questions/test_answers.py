# SPDX-License-Identifier: Apache-2.0
"""All answers together, as JSON has them."""

from typing import Any

from ntl_jax.metrics.atomic_files import as_line
from ntl_jax.metrics.divergence.questions.answers import answer
from ntl_jax.metrics.divergence.questions.token import DivergentToken, read_token
from tests.divergence_lines import lines


def test_the_answers_have_the_tables_the_test_and_the_diagnosis_by_name():
    row: dict[str, Any] = {**answer([read_token(line) for line in lines()], top=3).as_row()}
    assert row["lines"] == 20
    assert [token["divergence"] for token in row["most_divergent"]] == [0.8] * 3
    assert row["by_answer"][0] == {"name": "correct", "tokens": 16, "share": 0.8, "mean": 0.675, "largest": 0.8}
    assert row["welch"].keys() == {"t", "df", "p"}
    assert row["findings"][0]["name"] == "learns_right_answers"


def test_answers_are_json_also_where_little_is_known():
    for tokens in ([], [DivergentToken(None, 0)]):
        assert as_line(answer(tokens, top=3).as_row())

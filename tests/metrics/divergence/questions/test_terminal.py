# SPDX-License-Identifier: Apache-2.0
"""The tables on the terminal: whatever the tokens hold, on consoles of any width."""

import io

import pytest
from rich.console import Console

from ntl_jax.metrics.divergence.questions.answers import answer
from ntl_jax.metrics.divergence.questions.terminal import print_answers
from ntl_jax.metrics.divergence.questions.token import DivergentToken, read_token
from tests.divergence_lines import line, lines


def shown(rows, width=120):
    file = io.StringIO()
    tokens = [row if isinstance(row, DivergentToken) else read_token(row) for row in rows]
    print_answers(answer(tokens, top=5), console=Console(file=file, width=width, highlight=False))
    return file.getvalue()


def test_every_question_has_its_table_and_the_diagnosis_comes_last():
    text = shown(lines())
    titles = (
        "Most divergent tokens", "Which tokens", "Where in the response", "Tokens from the start",
        "Tokens from the end", "In which iterations", "In which answers", "Digits or others", "Digits in which answers",
        "Which kind of token", "Which side was sure", "Age of the weights",
    )  # fmt: skip
    assert [title for title in titles if title not in text] == []
    assert "Welch's t-test of digits against others: t = 4.54, df = 15.7, p = 0.00035" in text
    assert text.index("Diagnosis") > max(text.index(title) for title in titles)
    assert "80% of the divergent tokens (16 of 20) are from correct answers" in text


def test_figures_are_not_cut_on_a_narrow_terminal():
    for row in shown(lines(), width=80).splitlines():
        assert "…" not in row or "apples" in row


@pytest.mark.parametrize("text", ["[bold]x[/bold]", "\x1b[31m", "\u202e", "中" * 50, "\n", ""])
def test_texts_of_tokens_are_shown_as_they_are(text):
    said = shown([line(token_text=text, context_text=text * 2)])
    assert "\x1b" not in said and "\u202e" not in said
    assert "'[bold]x[/bold]'" in said or "bold" not in text


def test_what_is_unknown_is_left_blank():
    said = shown([DivergentToken(None, 3)])
    assert "not finite" in said and "None" not in said and "nan" not in said

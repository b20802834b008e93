# SPDX-License-Identifier: Apache-2.0
"""Claims about docs/divergence.md: it has every key, and in pandas and jq its questions have the command's answers."""

import ast
import pathlib
import re
import shlex
from typing import Any

import jq
import pandas as pd
import pytest

from ntl_jax.metrics.divergence.questions.answers import Answers, answer
from ntl_jax.metrics.divergence.questions.token import read_token
from tests.divergence_lines import OF_EVERY_PROGRAM, line, lines, write_log

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "divergence.md").read_text(encoding="utf-8")
QUESTIONS = TEXT.partition("## The same in pandas and jq")[2].partition("\n## ")[0]
PANDAS = re.findall(r"^```python\n(.*?)^```", QUESTIONS, flags=re.MULTILINE | re.DOTALL)
JQ = re.findall(r"^```sh\n(jq .*)\n```", QUESTIONS, flags=re.MULTILINE)
TABLES = (
    "most_divergent", "by_place", "by_distance_from_end", "by_iteration", "by_answer", "by_digit",
    "by_digit_and_answer", "by_flip", "by_age", "by_kind",
)  # fmt: skip
"""What the questions of the page are for the command, in the page's order."""
NAMES: dict[str, dict[Any, str]] = {
    "by_place": {0: "beginning", 1: "middle", 2: "end"},
    "by_iteration": {i: str(i) for i in range(10)},
    "by_answer": {True: "correct", False: "incorrect"},
    "by_age": {False: "age 0", True: "older"},
}
"""The command's names of groups, by those of the page."""


@pytest.fixture
def log(tmp_path, monkeypatch) -> pathlib.Path:
    """The page's log, in the folder where its commands are run."""
    monkeypatch.chdir(tmp_path)
    return write_log(pathlib.Path("runs/NAME/divergence.jsonl"), lines())


def rows_of_the_page() -> pd.DataFrame:
    (code,) = re.findall(r"`rows = (pd\.read_json\(.*?\))`", TEXT)
    return eval(code, {"pd": pd})


def in_pandas(name: str) -> Any:
    """The value of the last line of a question's block."""
    *first, last = ast.parse(PANDAS[TABLES.index(name)]).body
    assert isinstance(last, ast.Expr)
    names = {"rows": rows_of_the_page()}
    exec(compile(ast.Module(first, []), "page", "exec"), names)
    return eval(compile(ast.Expression(last.value), "page", "eval"), names)


def in_jq(name: str) -> list[Any]:
    """What a question's command prints, line by line."""
    program, options, expression, path = shlex.split(JQ[TABLES.index(name)])
    assert (program, options) == ("jq", "-cs")  # compact, which changes nothing here; all lines as one list
    return jq.compile(expression).input_text(pathlib.Path(path).read_text(encoding="utf-8"), slurp=True).all()


def by_name(name: str, groups: dict[Any, float]) -> dict[Any, float]:
    return {NAMES.get(name, {}).get(key, key): value for key, value in groups.items()}


@pytest.fixture(scope="module")
def answers() -> Answers:
    return answer([read_token(row) for row in lines()], top=10)


def test_every_question_stands_in_both_languages():
    assert len(PANDAS) == len(JQ) == len(TABLES)
    assert QUESTIONS.count("```") == 4 * len(TABLES)


def test_the_rows_of_the_page_are_those_of_the_log_and_digits_stay_texts(log):
    rows = rows_of_the_page()
    assert rows.token_text.tolist() == [row["token_text"] for row in lines()]
    assert set(rows.columns) == line().keys()


@pytest.mark.parametrize("name", ["by_place", "by_iteration", "by_flip", "by_age", "by_kind"])
def test_both_count_what_the_command_counts(log, answers, name):
    counts = {group.name: group.tokens for group in answers.tables[name].groups}
    table = in_pandas(name)
    sizes = table["size"] if isinstance(table, pd.DataFrame) else table
    assert by_name(name, sizes.to_dict()) == counts
    assert by_name(name, {key: count for key, count, *_ in in_jq(name)}) == counts


@pytest.mark.parametrize("name", ["by_place", "by_iteration", "by_age", "by_kind"])
def test_both_have_the_means_of_the_command(log, answers, name):
    means = {group.name: pytest.approx(group.mean) for group in answers.tables[name].groups}
    assert by_name(name, in_pandas(name)["mean"].to_dict()) == means
    assert by_name(name, {key: mean for key, _, mean, *_ in in_jq(name)}) == means


def test_both_have_the_largest_divergence_of_every_iteration(log, answers):
    largest = [group.largest for group in answers.tables["by_iteration"].groups]
    assert in_pandas("by_iteration")["max"].tolist() == largest
    assert [row[3] for row in in_jq("by_iteration")] == largest


def test_both_have_the_most_divergent_tokens_of_the_command(log, answers):
    top = {(token.iteration, token.position, token.text) for token in answers.top}
    of_pandas = in_pandas("most_divergent")
    assert {*zip(of_pandas.iteration, of_pandas.position, of_pandas.token_text, strict=True)} == top
    assert {tuple(row[:3]) for row in in_jq("most_divergent")} == top


def test_both_count_every_distance_from_the_end(log):
    distances = dict.fromkeys(range(10), 2)
    assert in_pandas("by_distance_from_end").to_dict() == distances
    assert {key: count for key, count in in_jq("by_distance_from_end")} == distances


def test_both_have_the_shares_of_the_command(log, answers):
    shares = {group.name: group.share for group in answers.tables["by_answer"].groups}
    assert by_name("by_answer", in_pandas("by_answer").to_dict()) == shares
    assert by_name("by_answer", {key: share for key, share in in_jq("by_answer")}) == shares


def test_lines_of_which_nothing_is_known_are_in_no_share(log):
    write_log(log, [*lines(), *(line(i, is_correct=None) for i in range(7))])
    assert in_pandas("by_answer").to_dict() == {True: 0.8, False: 0.2}
    assert {key: share for key, share in in_jq("by_answer")} == {True: 0.8, False: 0.2}


def test_both_have_the_test_of_the_command(log, answers):
    assert answers.welch is not None
    of_pandas, (of_jq,) = in_pandas("by_digit"), in_jq("by_digit")
    assert (of_pandas.statistic, of_pandas.df, of_pandas.pvalue) == pytest.approx(tuple(answers.welch))
    assert of_jq["t"] == pytest.approx(answers.welch.t)
    sides = {group.name: [group.tokens, pytest.approx(group.mean)] for group in answers.tables["by_digit"].groups}
    assert {side: of_jq[side] for side in ("digits", "others")} == sides


def test_where_is_digit_is_null_the_pattern_of_the_page_says_the_same(log):
    (expression,) = re.findall(r"`(rows\.token_text\.str\.match\(.*?\))`", TEXT)
    assert eval(expression, {"rows": rows_of_the_page()}).tolist() == [row["is_digit"] for row in lines()]


def test_both_count_digits_in_both_kinds_of_answers(log, answers):
    counts = {group.name: group.tokens for group in answers.tables["by_digit_and_answer"].groups}
    of_pandas = in_pandas("by_digit_and_answer").stack().to_dict()
    of_jq = {(digit, correct): count for digit, correct, count in in_jq("by_digit_and_answer")}
    words = {True: ("digits", "correct"), False: ("others", "incorrect")}
    for of_page in (of_pandas, of_jq):
        assert {f"{words[digit][0]}, {words[right][1]}": count for (digit, right), count in of_page.items()} == counts


def test_every_key_of_a_line_has_its_row_those_of_every_program_first():
    table = TEXT.partition("## Keys")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?`) \|", table, flags=re.MULTILINE)
    keys = [key for cell in cells for key in re.findall(r"`(\w+)`", cell)]
    assert sorted(keys) == sorted(line())
    assert {*keys[: len(OF_EVERY_PROGRAM)]} == {*OF_EVERY_PROGRAM} and keys[len(OF_EVERY_PROGRAM)] == "flip_type"


def test_every_symptom_is_said_once_with_its_cause_and_what_to_do():
    table = TEXT.partition("## Symptoms")[2].partition("\n## ")[0]
    rows = [re.split(r" \| ", text.strip("| ")) for text in table.splitlines() if text.startswith("| ")][1:]
    assert len(rows) >= 15 and len({row[0] for row in rows}) == len(rows)
    assert [row for row in rows if len(row) != 3 or not all(row)] == []

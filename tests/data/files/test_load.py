# SPDX-License-Identifier: Apache-2.0
"""Sources load completely, in their order and with names; malformed rows are named with file, line and fault."""

import json
import pathlib

import pytest

from ntl_jax.config import FieldsSection
from ntl_jax.data.files import as_parquet, find_source
from ntl_jax.data.files.load import load_problems, read_rows

ROWS = pathlib.Path(__file__).parents[2] / "tasks" / "gsm8k_rows.jsonl"

BAD_ROWS = {
    '{"question": "q", "answer": "#### 1"': "bad JSON: Expecting",
    '{"question": "\xff", "answer": "#### 1"}': "not UTF-8",
    '["question", "answer"]': "must be a JSON object, is a list",
    '{"question": "q", "response": "#### 1"}': "only `question`, `response`: name it with data.fields.answer",
    "{}": "no `question`, `prompt` or `problem`, only an empty object",
    '{"question": 7, "answer": "#### 1"}': "`question` must be a string or a list of messages, is a number",
    '{"question": "q", "answer": null}': "`answer` must be a string or a number, is null",
    '{"question": "q", "answer": true}': "`answer` must be a string or a number, is a boolean",
    '{"question": " \\n", "answer": "#### 1"}': "`question` is empty",
    '{"question": "q", "answer": "It is 5."}': "or a solution that marks one with `#### N`",
    '{"question": "q", "answer": "It is #### 5"}': "must end in a line `#### N`, ends in 'It is #### 5'",
    '{"question": "q", "answer": "#### 5\\nor 6"}': "must end in a line `#### N`, ends in 'or 6'",
    '{"question": "q", "answer": "5\\n####"}': "there is no answer after ####",
    '{"question": "q", "answer": "#### five"}': "must be a number, is 'five'",
    '{"question": "q", "answer": "#### 1,20"}': "must be a number, is '1,20'",
    '{"question": "\\ud800", "answer": "#### 1"}': "`question` holds half a surrogate pair",
    "[" * 100_000: "bad JSON: maximum recursion",
}


def row(question="Q?", answer="1+1=2.\n#### 2", **more):
    return json.dumps({"question": question, "answer": answer, **more}, ensure_ascii=False)


@pytest.fixture
def write(tmp_path):
    def write(*rows):
        path = tmp_path / "data.jsonl"
        path.write_bytes("\n".join(rows).encode("latin-1" if any("\xff" in r for r in rows) else "utf-8"))
        return str(path)

    return write


@pytest.mark.parametrize(("bad", "fault"), BAD_ROWS.items(), ids=BAD_ROWS.values())
def test_a_malformed_row_is_an_error_naming_file_line_and_fault(write, bad, fault):
    path = write(row(), bad, row())
    with pytest.raises(ValueError) as error:
        load_problems([path])
    assert f"{path}:2: " in str(error.value)
    assert fault in str(error.value)
    assert "data.on_bad_row=skip" in str(error.value)


def test_all_malformed_rows_are_named_at_once(write):
    path = write(row(), *BAD_ROWS)
    with pytest.raises(ValueError) as error:
        load_problems([path])
    assert f"{len(BAD_ROWS)} of {len(BAD_ROWS) + 1} rows" in str(error.value)
    assert all(f"{path}:{i + 2}: " in str(error.value) for i in range(len(BAD_ROWS)))


def test_a_long_list_of_malformed_rows_is_cut_and_counted(write):
    rows = [f'{{"{i}": 1}}' for i in range(500)]
    with pytest.raises(ValueError, match=r"(?s)500 of 501 rows.*and 480 more$"):
        load_problems([write(row(), *rows)])
    with pytest.raises(ValueError, match=r"500 of 500 rows are malformed:\n[^\n]*\n  and 499 more$"):
        load_problems([write(*rows)])


def test_malformed_rows_can_be_skipped_and_are_counted(write):
    problems, skipped = load_problems([write(row("A?"), *BAD_ROWS, row("B?"))], on_bad_row="skip")
    assert [p.question for p in problems] == ["A?", "B?"]
    assert skipped == len(BAD_ROWS)


def test_skipping_does_not_hide_that_no_row_is_good(write):
    with pytest.raises(ValueError, match="2 of 2 rows are malformed"):
        load_problems([write("{}", "[]")], on_bad_row="skip")


@pytest.mark.parametrize("truth", ["1/2", "72", "-5", "1,200", "192,000,000", "0.5", "$18", "25%", "+3"])
def test_answers_are_kept_as_they_are_written(write, truth):
    (problem,), _ = load_problems([write(row(answer=f"So:\n#### {truth}"))])
    assert problem.ground_truth == truth
    assert problem.solution == f"So:\n#### {truth}"


def test_odd_characters_and_line_separators_within_a_row_are_kept(write):
    question = "A\u200bnna’s 3\xa0× €½ –\u2028 tab\t?"
    (problem,), skipped = load_problems([write(row(question))])
    assert (problem.question, skipped) == (question, 0)


def test_blank_lines_and_carriage_returns_are_no_rows_and_an_index_is_a_line(write):
    problems, skipped = load_problems([write(row("A?") + "\r", "", "  ", row("B?", extra=1), "")])
    assert [(p.index, p.question) for p in problems] == [(0, "A?"), (3, "B?")]
    assert skipped == 0


def test_a_missing_file_a_folder_and_an_empty_file_are_told_apart(tmp_path, write):
    with pytest.raises(ValueError, match=r"data\.train='.*none\.jsonl' does not exist"):
        load_problems([str(tmp_path / "none.jsonl")])
    with pytest.raises(ValueError, match="is a folder"):
        load_problems([str(tmp_path)])
    with pytest.raises(ValueError, match="is empty"):
        load_problems([write("", "")])


def test_rows_of_gsm8k_load_as_they_are():
    problems, skipped = load_problems([str(ROWS)])
    assert (len(problems), skipped) == (10, 0)
    assert [p.index for p in problems] == list(range(10))
    assert [p.ground_truth for p in problems] == ["109,200,000", "38", "1955", "50", "36", "2", "-47", "35", "71", "5"]
    assert all(p.solution.endswith(f"#### {p.ground_truth}") for p in problems)
    texts = "".join(p.text + p.solution for p in problems)
    assert all(character in texts for character in "’×−€%\u2028\u200b")


VERL = {
    "data_source": "openai/gsm8k",
    "prompt": [{"role": "user", "content": "2+3?"}],
    "reward_model": {"style": "rule", "ground_truth": "5"},
    "extra_info": {"index": 0, "answer": "2+3=5.\n#### 5"},
}


def test_a_file_of_verl_is_read_as_it_is(tmp_path):
    (tmp_path / "train.parquet").write_bytes(as_parquet([VERL]))
    (problem,), _ = load_problems([str(tmp_path / "train.parquet")])
    assert (problem.text, problem.ground_truth, problem.solution) == ("2+3?", "5", "2+3=5.\n#### 5")
    assert (problem.data_source, problem.extra_info) == ("openai/gsm8k", VERL["extra_info"])


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.tsv", "a.jsonl"])
def test_the_problems_are_the_same_in_every_format(tmp_path, name):
    rows = [{"question": "2+3?", "answer": "5"}, {"question": "3+4?", "answer": "7"}]
    separator = "\t" if name == "a.tsv" else ","
    table = "".join(f"{separator.join(map(str, row.values()))}\n" for row in [{"q": "question", "a": "answer"}, *rows])
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    content = {"a.json": json.dumps({"rows": rows}), "a.jsonl": lines}.get(name, table)
    (tmp_path / name).write_text(content, encoding="utf-8-sig")
    problems, _ = load_problems([str(tmp_path / name)])
    assert [(p.index, p.text, p.ground_truth, p.data_source) for p in problems] == [
        (0, "2+3?", "5", "a"),
        (1, "3+4?", "7", "a"),
    ]


def test_several_sources_keep_their_order_their_names_and_their_numbers(tmp_path, write):
    for folder in ("math", "sums"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.jsonl").write_text("\n".join([row("A?", "2"), "", row("B?", "2")]))
    own = tmp_path / "own.jsonl"
    own.write_text(f"{row('C?', data_source='mine')}\n{row('D?')}")
    sources = [str(tmp_path / "math" / "test.jsonl"), str(own), str(tmp_path / "sums" / "test.jsonl")]
    problems, _ = load_problems(sources)
    assert [(p.index, p.text, p.data_source, p.source_index) for p in problems] == [
        (0, "A?", "math/test", 0), (2, "B?", "math/test", 0), (3, "C?", "mine", 1), (4, "D?", "gsm8k", 1),
        (5, "A?", "sums/test", 2), (7, "B?", "sums/test", 2),
    ]  # fmt: skip
    assert problems[2].place == f"{own}:1"


def test_solutions_like_those_of_gsm8k_are_named_after_it_and_others_after_their_file(write, tmp_path):
    (tmp_path / "sums.jsonl").write_text(row(answer="2"))
    both = load_problems([write(row()), str(tmp_path / "sums.jsonl")])[0]
    assert [problem.data_source for problem in both] == ["gsm8k", "sums"]
    assert load_problems([write(row())])[0][0].data_source == "gsm8k"
    assert load_problems([write(row(answer="2"))])[0][0].data_source == "data"


def test_the_setting_and_the_source_at_fault_are_named(write, tmp_path):
    good, bad = write(row()), tmp_path / "bad.jsonl"
    bad.write_text('{"question": "Q?", "result": 5}\n')
    with pytest.raises(ValueError, match=rf"^data\.eval='{bad}': 1 of 1 rows.*\n  {bad}:1: no `answer`"):
        load_problems([good, str(bad)], setting="data.eval")
    assert load_problems([str(bad)], FieldsSection(answer="result"))[0][0].ground_truth == "5"


def test_a_table_without_names_of_its_columns_is_told_where_names_come_from(tmp_path):
    (tmp_path / "a.csv").write_text("2+3?,5\n3+4?,7\n")
    with pytest.raises(ValueError, match=r"only `2\+3\?`, `5`: .*; the first line names its columns"):
        load_problems([str(tmp_path / "a.csv")])


def test_rows_are_what_the_source_holds(write):
    rows = list(read_rows(find_source(write("[1]", row())), FieldsSection()))
    assert [type(found.value) for found in rows] == [str, dict]

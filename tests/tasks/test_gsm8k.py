# SPDX-License-Identifier: Apache-2.0
"""GSM8K files load completely, and malformed rows are named, all of them, with file, line and fault."""

import json
import pathlib

import pytest

from ntl_jax.tasks.gsm8k import load_gsm8k

ROWS = pathlib.Path(__file__).parent / "gsm8k_rows.jsonl"

BAD_ROWS = {
    '{"question": "q", "answer": "#### 1"': "bad JSON: Expecting",
    '{"question": "\xff", "answer": "#### 1"}': "not UTF-8",
    '["question", "answer"]': "must be a JSON object, is a list",
    '{"question": "q", "solution": "#### 1"}': "no `answer`, only `question`, `solution`",
    "{}": "no `question`, only an empty object",
    '{"question": 7, "answer": "#### 1"}': "`question` must be a string, is a number",
    '{"question": "q", "answer": null}': "`answer` must be a string, is null",
    '{"question": "q", "answer": true}': "`answer` must be a string, is a boolean",
    '{"question": " \\n", "answer": "#### 1"}': "`question` is empty",
    '{"question": "q", "answer": "It is 5."}': "`answer` has no line `#### N`",
    '{"question": "q", "answer": "It is #### 5"}': "must end in a line `#### N`, ends in 'It is #### 5'",
    '{"question": "q", "answer": "#### 5\\nor 6"}': "must end in a line `#### N`, ends in 'or 6'",
    '{"question": "q", "answer": "5\\n####"}': "must be a number, is ''",
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
        return path

    return write


@pytest.mark.parametrize(("bad", "fault"), BAD_ROWS.items(), ids=BAD_ROWS.values())
def test_a_malformed_row_is_an_error_naming_file_line_and_fault(write, bad, fault):
    path = write(row(), bad, row())
    with pytest.raises(ValueError) as error:
        load_gsm8k(path)
    assert f"{path}:2: " in str(error.value)
    assert fault in str(error.value)
    assert "data.on_bad_row=skip" in str(error.value)


def test_all_malformed_rows_are_named_at_once(write):
    path = write(row(), *BAD_ROWS)
    with pytest.raises(ValueError) as error:
        load_gsm8k(path)
    assert f"{len(BAD_ROWS)} of {len(BAD_ROWS) + 1} rows" in str(error.value)
    assert all(f"{path}:{i + 2}: " in str(error.value) for i in range(len(BAD_ROWS)))


def test_a_long_list_of_malformed_rows_is_cut_and_counted(write):
    with pytest.raises(ValueError, match=r"(?s)500 of 500 rows.*and 480 more$"):
        load_gsm8k(write(*(f'{{"{i}": 1}}' for i in range(500))))


def test_malformed_rows_can_be_skipped_and_are_counted(write):
    problems, skipped = load_gsm8k(write(row("A?"), *BAD_ROWS, row("B?")), on_bad_row="skip")
    assert [p.question for p in problems] == ["A?", "B?"]
    assert skipped == len(BAD_ROWS)


def test_skipping_does_not_hide_that_no_row_is_good(write):
    with pytest.raises(ValueError, match="2 of 2 rows are malformed"):
        load_gsm8k(write("{}", "[]"), on_bad_row="skip")


@pytest.mark.parametrize("truth", ["1/2", "72", "-5", "1,200", "192,000,000", "0.5", "$18", "25%", "+3"])
def test_answers_are_kept_as_they_are_written(write, truth):
    (problem,), _ = load_gsm8k(write(row(answer=f"So:\n#### {truth}")))
    assert problem.ground_truth == truth
    assert problem.solution == f"So:\n#### {truth}"


def test_odd_characters_and_line_separators_within_a_row_are_kept(write):
    question = "A\u200bnna’s 3\xa0× €½ –\u2028 tab\t?"
    (problem,), skipped = load_gsm8k(write(row(question)))
    assert (problem.question, skipped) == (question, 0)


def test_blank_lines_and_carriage_returns_are_no_rows_and_an_index_is_a_line(write):
    problems, skipped = load_gsm8k(write(row("A?") + "\r", "", "  ", row("B?", extra=1), ""))
    assert [(p.index, p.question) for p in problems] == [(0, "A?"), (3, "B?")]
    assert skipped == 0


def test_a_missing_file_a_folder_and_an_empty_file_are_told_apart(tmp_path, write):
    with pytest.raises(ValueError, match=r"none\.jsonl does not exist"):
        load_gsm8k(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="is a folder"):
        load_gsm8k(tmp_path)
    with pytest.raises(ValueError, match="is empty"):
        load_gsm8k(write("", ""))


def test_rows_of_gsm8k_load_as_they_are():
    problems, skipped = load_gsm8k(ROWS)
    assert (len(problems), skipped) == (10, 0)
    assert [p.index for p in problems] == list(range(10))
    assert [p.ground_truth for p in problems] == ["109,200,000", "38", "1955", "50", "36", "2", "-47", "35", "71", "5"]
    assert all(p.solution.endswith(f"#### {p.ground_truth}") for p in problems)
    texts = "".join(p.question + p.solution for p in problems)
    assert all(character in texts for character in "’×−€%\u2028\u200b")

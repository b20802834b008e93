# SPDX-License-Identifier: Apache-2.0
"""Parquet files come back as they were written, nested columns too; damage and a missing package are named."""

import sys

import pyarrow
import pyarrow.parquet
import pytest

from ntl_jax.data.files.formats.parquet import as_parquet, parquet_rows

ROWS = [
    {
        "prompt": [{"role": "user", "content": f"{i}?"}],
        "reward_model": {"ground_truth": i},
        "score": i / 2,
        "note": None,
    }
    for i in range(3)
]


def test_rows_come_back_as_they_were_written():
    rows = list(parquet_rows(as_parquet(ROWS), "a.parquet"))
    assert [row.value for row in rows] == ROWS
    assert [(row.index, row.place) for row in rows[1:]] == [(1, "a.parquet, row 2"), (2, "a.parquet, row 3")]


def test_other_writers_files_are_read_too():
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table({"q": pyarrow.array([1, 2], pyarrow.int8())}), sink, compression="zstd")
    assert [row.value for row in parquet_rows(sink.getvalue().to_pybytes(), "a.parquet")] == [{"q": 1}, {"q": 2}]


def test_every_cut_of_a_file_is_named_as_damage():
    content = as_parquet(ROWS)
    for length in range(4, len(content), len(content) // 20):
        with pytest.raises(ValueError, match="is a parquet file and damaged or cut off"):
            list(parquet_rows(content[:length], "a.parquet"))


def test_a_row_may_lack_a_column_that_others_have():
    rows = [{"q": 1}, {"q": 2, "extra_info": {"a": 1, "b": [{"c": 1}, {"c": None}]}}, {"q": 3, "extra_info": None}]
    read = [row.value for row in parquet_rows(as_parquet(rows), "a.parquet")]
    assert read == [{"extra_info": None} | row for row in rows]


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([{"x": {"a": 1}}, {"x": {"b": 2}}], "`x` has other fields in row 1 than in others"),
        ([{"x": {"a": 1}}, {"x": {}}], "`x` has other fields in row 2"),
        ([{"q": 1}, {"q": 2, "x": [{"a": 1}, {"a": 1, "b": 2}]}], "`x` has other fields in row 2"),
        ([{"x": {"meta": {}}}], "meta"),
        ([{"x": 2**70}], "too large|too big|overflow"),
    ],
)
def test_rows_that_a_file_would_change_are_refused(rows, fault):
    with pytest.raises(ValueError, match=rf"the rows fit no parquet file \(.*({fault}).*\): write a jsonl file"):
        as_parquet(rows)


def test_columns_of_several_types_are_refused_with_what_to_write_instead():
    with pytest.raises(ValueError, match=r"the rows fit no parquet file .*: write a jsonl file"):
        as_parquet([{"a": 1}, {"a": "b"}])


def test_without_pyarrow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"^is a parquet file, which needs the package pyarrow: pip install"):
        list(parquet_rows(b"PAR1", "a.parquet"))
    with pytest.raises(ValueError, match=r"ntl_jax\[data\]"):
        as_parquet(ROWS)

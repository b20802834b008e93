# SPDX-License-Identifier: Apache-2.0
"""Rows of parquet files. The only file that imports pyarrow."""

from collections.abc import Iterator, Sequence

from ntl_jax.config import MOST_PROBLEMS
from ntl_jax.data.files.row import Row

NEEDS = "needs the package pyarrow: pip install 'ntl_jax[data]'"


def parquet_rows(content: bytes, name: str) -> Iterator[Row]:
    """The rows of a parquet file, with nested columns as objects and lists.

    Args:
        content: of the file.
        name: of the file.

    Raises:
        ValueError: for a damaged file, too many rows, or if pyarrow is not installed, in words that follow the name.

    Example:
        >>> content = as_parquet([{"question": "2+3?", "reward_model": {"ground_truth": "5"}}])
        >>> next(parquet_rows(content, "a.parquet")).value
        {'question': '2+3?', 'reward_model': {'ground_truth': '5'}}
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(f"is a parquet file, which {NEEDS}") from error
    try:
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content))
        count = file.metadata.num_rows
        rows = file.read().to_pylist() if count <= MOST_PROBLEMS else []
    except (pyarrow.ArrowException, OSError) as error:
        what = " ".join(str(error).split())
        raise ValueError(f"is a parquet file and damaged or cut off ({what}): copy or download it again") from error
    if count > MOST_PROBLEMS:
        raise ValueError(f"has {count:,} rows, and at most {MOST_PROBLEMS:,} are read: split it, and name a part")
    for i, row in enumerate(rows):
        yield Row(i, f"{name}, row {i + 1}", row)


def as_parquet(rows: Sequence[dict[str, object]]) -> bytes:
    """The content of a parquet file with these rows.

    Args:
        rows: at least one, whose values are of one type in each column; a row may lack columns that others have, which
            it then holds null in.

    Raises:
        ValueError: if pyarrow is not installed, or the values of a column differ in type or in their fields.

    Example:
        >>> as_parquet([{"question": "2+3?"}])[:4]
        b'PAR1'
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(f"writing a parquet file {NEEDS}") from error
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    sink = pyarrow.BufferOutputStream()
    try:
        table = pyarrow.table({name: pyarrow.array(values) for name, values in columns.items()})
        pyarrow.parquet.write_table(table, sink)
    except (pyarrow.ArrowException, OverflowError) as error:
        what = " ".join(str(error).split())
        raise ValueError(f"the rows fit no parquet file ({what}): write a jsonl file") from error
    for name, values in columns.items():
        for i, (given, kept) in enumerate(zip(values, table[name].to_pylist(), strict=True)):
            if _fields(given) != _fields(kept):
                raise ValueError(
                    f"the rows fit no parquet file (`{name}` has other fields in row {i + 1} than in others): write a "
                    "jsonl file"
                )
    return sink.getvalue().to_pybytes()


def _fields(value: object) -> object:
    """The names of the fields in a value: in a column all have the same, and those that a row lacks would be added."""
    match value:
        case dict():
            return {name: _fields(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_fields(inner) for inner in value]
        case _:
            return None

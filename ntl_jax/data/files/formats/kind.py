# SPDX-License-Identifier: Apache-2.0
"""What a file holds: the kinds of files that are read, and of others what they are and how to turn them into one."""

import json
import re
from typing import Literal, NamedTuple

from ntl_jax.config import LFS_POINTER

Kind = Literal["lines", "document", "table", "parquet"]
"""JSON lines, one JSON document, a table in text, a parquet file."""
PARQUET = b"PAR1"
_WRITE = 'with pandas, .to_json("new.jsonl", orient="records", lines=True)'
_DUMP = "write each row with json.dumps on a line of its own"


class Signature(NamedTuple):
    """The first bytes of a format, and what the format is."""

    start: bytes
    meaning: str


BINARY = (
    Signature(b"\x28\xb5\x2f\xfd", "is compressed with zstd: unpack it with unzstd"),
    Signature(b"\x04\x22\x4d\x18", "is compressed with lz4: unpack it with unlz4"),
    Signature(b"PK\x03\x04", f"is a zip archive or an Excel sheet: unpack it, or read the sheet and write it {_WRITE}"),
    Signature(b"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it"),
    Signature(b"ARROW1", f"is an arrow file: read it and write it {_WRITE}"),
    Signature(b"\xff\xff\xff\xff", f"is an arrow file: read it and write it {_WRITE}"),
    Signature(b"\x89HDF", f"is an HDF5 file: read it and write it {_WRITE}"),
    Signature(b"\x93NUMPY", f"is a numpy file: {_DUMP}"),
    Signature(b"\x80\x03", f"is a pickle, which may run code: {_DUMP}"),
    Signature(b"\x80\x04", f"is a pickle, which may run code: {_DUMP}"),
    Signature(b"\x80\x05", f"is a pickle, which may run code: {_DUMP}"),
    Signature(b"SQLite format 3\x00", f"is an SQLite database: read it and write it {_WRITE}"),
    Signature(b"%PDF", f"is a PDF: {_DUMP}"),
    Signature(b"GGUF", "is a model (GGUF): give a file of problems"),
    Signature(LFS_POINTER, "is a pointer of git-lfs: fetch the file itself with git lfs pull"),
)
ENCODINGS = (
    Signature(b"\xff\xfe\x00\x00", "UTF-32"),
    Signature(b"\x00\x00\xfe\xff", "UTF-32"),
    Signature(b"\xff\xfe", "UTF-16"),
    Signature(b"\xfe\xff", "UTF-16"),
)
"""Byte-order marks of other encodings than UTF-8; the longer ones come first."""
HEAD = 4096
"""Bytes that tell the format."""
EXCERPT = 60
"""Characters of a file that an error shows."""
_TABLE = re.compile(r"""["']?[\w ]+["']?\s*[,;\t|]\s*["']?[\w ]+["']?""")
TABLES = (".csv", ".tsv")
"""Endings of the names of tables."""


def find_kind(content: bytes, suffix: str = "") -> Kind:
    r"""What a file holds, as its content shows; tables are known by the ending of the file's name too.

    Args:
        content: the whole file.
        suffix: the ending of its name, such as ``.csv``.

    Raises:
        ValueError: for what cannot be read, in words that follow the file's name.

    Example:
        >>> find_kind(b'[{"question": "2+3?", "answer": "5"}]'), find_kind(b"question,answer\n2+3?,5")
        ('document', 'table')
    """
    if content.startswith(PARQUET):
        return "parquet"
    if other := _other_bytes(content):
        raise ValueError(other)
    text = content.strip()
    if not text:
        raise ValueError("is empty: give a file with a row for each problem")
    first, _, rest = text.partition(b"\n")
    if b"\r" in text and not rest and _is_json(text.partition(b"\r")[0]):
        raise ValueError("ends its lines with carriage returns alone: convert them to line feeds, with tr '\\r' '\\n'")
    if _is_json(first) and (rest or first[:1] not in b"[{"):
        return "lines"
    if text.startswith((b"[", b"{")) and _is_json(text):
        return "document"
    return _kind_of_text(text, first, suffix)


def _other_bytes(content: bytes) -> str | None:
    """What a file is that holds no text in UTF-8."""
    for start, meaning in BINARY:
        if content.startswith(start):
            return meaning
    if content[257:262] == b"ustar":
        return "is a tar archive: unpack it"
    if encoding := _other_encoding(content[:HEAD]):
        return f"is encoded in {encoding}: convert it to UTF-8, with iconv -f {encoding} -t UTF-8"
    return "holds binary data, no text: give a file of problems" if b"\x00" in content[:HEAD] else None


def _other_encoding(head: bytes) -> str | None:
    marked = next((name for mark, name in ENCODINGS if head.startswith(mark)), None)
    if marked or len(head) < 4:
        return marked
    for zeros, name in ((head[1::2], "UTF-16LE"), (head[::2], "UTF-16BE")):
        if zeros.count(0) > 0.9 * len(zeros):
            return name
    return None


def _kind_of_text(text: bytes, first: bytes, suffix: str) -> Kind:
    """The kind of a text whose first line is no JSON value, nor is the whole."""
    start = first[:HEAD].decode("utf-8", errors="replace").strip()
    if re.match(r"<(!doctype|html|\?xml)", start, re.IGNORECASE):
        raise ValueError("is a web page (HTML or XML): download the file itself, with its raw address")
    if text.startswith(b"["):
        raise ValueError(f"is a JSON array that is damaged or cut off ({_fault(text)}): write or download it again")
    if start.endswith(",") and _is_json(first.strip().rstrip(b",")):
        raise ValueError("has a comma after each row: remove the commas, or write [ before the rows and ] after them")
    if re.match(rb"\{\s*[\"'}]", text) and not first.rstrip().endswith(b"}"):
        raise ValueError("holds JSON that is spread over several lines: write each row as one line, with jq -c .")
    if re.match(r"\{\s*'", start):
        raise ValueError(f"holds Python dicts, with single quotes, which are no JSON: {_DUMP}")
    if start.startswith("{"):
        return "lines"  # with a damaged row, which is reported with the others
    if suffix in TABLES or _TABLE.match(start):
        return "table"
    raise ValueError(f"holds neither JSON nor a table, its first line is {start[:EXCERPT]!r}: {_DUMP}")


def _is_json(text: bytes) -> bool:
    return _fault(text) is None


def _fault(text: bytes) -> str | None:
    """Why a text is no JSON; None if it is."""
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        return str(error)
    return None

# SPDX-License-Identifier: Apache-2.0
"""What a file is that does not hold one JSON object a line, and how to turn it into one that does."""

import json
import re
from typing import NamedTuple

from ntl_jax.config import LFS_POINTER

_WRITE = 'with pandas, .to_json("new.jsonl", orient="records", lines=True)'
_DUMP = "write each row with json.dumps on a line of its own"


class Signature(NamedTuple):
    """The first bytes of a format, and what the format is."""

    start: bytes
    meaning: str


BINARY = (
    Signature(b"\x1f\x8b", "is compressed with gzip: unpack it with gunzip"),
    Signature(b"BZh", "is compressed with bzip2: unpack it with bunzip2"),
    Signature(b"\xfd7zXZ\x00", "is compressed with xz: unpack it with unxz"),
    Signature(b"\x28\xb5\x2f\xfd", "is compressed with zstd: unpack it with unzstd"),
    Signature(b"\x04\x22\x4d\x18", "is compressed with lz4: unpack it with unlz4"),
    Signature(b"PK\x03\x04", f"is a zip archive or an Excel sheet: unpack it, or read the sheet and write it {_WRITE}"),
    Signature(b"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it"),
    Signature(b"PAR1", f"is a parquet file: read it and write it {_WRITE}"),
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
_TABLE = re.compile(r"""["']?[\w ]+["']?\s*([,;\t|])\s*["']?[\w ]+["']?""")
_SEPARATORS = {",": "commas (csv)", ";": "semicolons (csv)", "\t": "tabs (tsv)", "|": "bars"}


def other_kind(content: bytes) -> str | None:
    r"""What a file is instead of JSON lines, in words that follow its name; None if it may hold JSON lines.

    Args:
        content: the whole file.

    Example:
        >>> other_kind(b'{"question": "2+3?", "answer": "#### 5"}\n')
        >>> other_kind(b'[{"question": "2+3?", "answer": "#### 5"}]')
        'is one JSON array: write each of its rows as a line of its own, with jq -c .[]'
    """
    for start, meaning in BINARY:
        if content.startswith(start):
            return meaning
    if content[257:262] == b"ustar":
        return "is a tar archive: unpack it"
    if encoding := _other_encoding(content[:HEAD]):
        return f"is encoded in {encoding}: convert it to UTF-8, with iconv -f {encoding} -t UTF-8"
    if b"\x00" in content[:HEAD]:
        return "holds binary data, no text: give a file with one JSON object a line"
    text = content.removeprefix(b"\xef\xbb\xbf").strip()
    if b"\r" in text and b"\n" not in text and _is_json(text.partition(b"\r")[0]):
        return "ends its lines with carriage returns alone: convert them to line feeds, with tr '\\r' '\\n'"
    first, _, rest = text.partition(b"\n")
    return None if not text or (_is_json(first) and (rest or not text.startswith(b"["))) else _other_text(text, first)


def _other_encoding(head: bytes) -> str | None:
    marked = next((name for mark, name in ENCODINGS if head.startswith(mark)), None)
    if marked or len(head) < 4:
        return marked
    for zeros, name in ((head[1::2], "UTF-16LE"), (head[::2], "UTF-16BE")):
        if zeros.count(0) > 0.9 * len(zeros):
            return name
    return None


def _other_text(text: bytes, first: bytes) -> str | None:
    """What a text is whose first line is no JSON value, or is an array that nothing follows."""
    start = first[:HEAD].decode("utf-8", errors="replace").strip()
    if text.startswith(b"["):
        return "is one JSON array: write each of its rows as a line of its own, with jq -c .[]"
    if re.match(rb"\{\s*[\"'}]", text) and not first.rstrip().endswith(b"}"):
        return "holds JSON that is spread over several lines: write each row as one line, with jq -c ."
    if re.match(r"\{\s*'", start):
        return f"holds Python dicts, with single quotes, which are no JSON: {_DUMP}"
    if re.match(r"<(!doctype|html|\?xml)", start, re.IGNORECASE):
        return "is a web page (HTML or XML): download the file itself, with its raw address"
    if table := _TABLE.match(start):
        return f"is a table with {_SEPARATORS[table[1]]}: read it and write it {_WRITE}"
    if start.startswith("{"):
        return None  # a damaged row, which is reported with the others
    return f"holds no JSON, its first line is {start[:EXCERPT]!r}: {_DUMP}"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True

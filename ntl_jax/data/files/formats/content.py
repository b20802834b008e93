# SPDX-License-Identifier: Apache-2.0
"""The content of a file, decompressed where the standard library can."""

import bz2
import gzip
import lzma
import pathlib
import zlib
from collections.abc import Callable
from typing import NamedTuple

MARK = b"\xef\xbb\xbf"
"""UTF-8's byte-order mark, which some programs write first."""


class _Compression(NamedTuple):
    start: bytes
    name: str
    decompress: Callable[[bytes], bytes]


_COMPRESSIONS = (
    _Compression(b"\x1f\x8b", "gzip", gzip.decompress),
    _Compression(b"BZh", "bzip2", bz2.decompress),
    _Compression(b"\xfd7zXZ\x00", "xz", lzma.decompress),
)


def read_content(path: pathlib.Path) -> bytes:
    """The bytes of a file, without compression and byte-order mark.

    Args:
        path: of a file, compressed with gzip, bzip2 or xz or not at all.

    Raises:
        ValueError: if the compressed data are damaged, in words that follow the path.

    Example:
        >>> import tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "rows.jsonl.gz"
        >>> _ = path.write_bytes(gzip.compress(b"{}"))
        >>> read_content(path)
        b'{}'
    """
    content = path.read_bytes()
    for start, name, decompress in _COMPRESSIONS:
        if content.startswith(start):
            try:
                content = decompress(content)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise ValueError(
                    f"is compressed with {name} and damaged or cut off ({error}): copy or download it again"
                ) from error
            break
    return content.removeprefix(MARK)

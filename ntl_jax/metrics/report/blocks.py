# SPDX-License-Identifier: Apache-2.0
"""Blocks of a page: packed data that the browser unpacks when it shows them."""

import base64
import gzip
import json

COMPRESSION = 6


class Blocks:
    """Collects the blocks of a page.

    Example:
        >>> blocks = Blocks()
        >>> blocks.add({"steps": [1, 2]}), blocks.add_packed(gzip.compress(b"{}")), len(blocks.packed)
        ('b0', 'b1', 2)
    """

    def __init__(self) -> None:
        self.packed: list[str] = []
        """In base64."""

    def add(self, value: object) -> str:
        """Packs a value that JSON has; returns the block's name."""
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return self.add_packed(gzip.compress(text.encode("utf-8", "replace"), COMPRESSION, mtime=0))

    def add_packed(self, content: bytes) -> str:
        """Adds what gzip has packed; returns the block's name."""
        self.packed.append(base64.b64encode(content).decode())
        return f"b{len(self.packed) - 1}"

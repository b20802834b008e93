# SPDX-License-Identifier: Apache-2.0
"""Claims about docs/troubleshooting.md: every symptom is one that the program can show."""

import functools
import pathlib
import re

import pytest

from ntl_jax.metrics.names import meaning

ROOT = pathlib.Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ROWS = [
    re.split(r" \| ", line.strip("| "))
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith("| what you see")
]
OF_OTHERS = {"No module named 'flax'": "Python"}
"""What others write, and who."""


@functools.cache
def written() -> str:
    """The texts of the program, those that are written in several parts joined."""
    files = [path for folder in ("ntl_jax", "launch") for path in sorted((ROOT / folder).rglob("*.py"))]
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text(encoding="utf-8") for path in files))


def test_rows_are_many_and_different_and_say_what_is_seen_why_and_what_to_do():
    assert len(ROWS) >= 25
    assert len({row[0] for row in ROWS}) == len(ROWS)
    assert [row for row in ROWS if len(row) != 3 or not all(row)] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_a_symptom_quotes_what_the_program_writes(row):
    quoted = re.findall(r"`([^`]+)`", row[0])
    texts = [text for text in quoted if " " in text and text not in OF_OTHERS]
    assert [text for text in texts if text not in written()] == []
    for name in (text for text in quoted if re.fullmatch(r"[a-z_]+/[\w/]+", text)):
        assert meaning(name)

# SPDX-License-Identifier: Apache-2.0
"""Claims about docs/data.md: its commands are read, and it names every field, default and format."""

import pathlib
import re
import shlex

import pytest

from launch import data, train
from ntl_jax.data.files import DEFAULTS

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_is_read(command):
    python, script, *words = shlex.split(command, comments=True)
    assert python == "python"
    if script == "launch/train.py":
        assert train.parse_args(words).config.data.train
    else:
        assert script == "launch/data.py" and words[0] in data.COMMANDS
        assert data._parser(words[0]).parse_args(words[1:]).source


def test_all_commands_of_the_page_are_found():
    assert len(COMMANDS) == TEXT.count("python launch/") == 9


def test_the_page_names_the_fields_that_are_read_by_themselves():
    for role, names in DEFAULTS.items():
        (row,) = re.findall(rf"^\| `data\.fields\.{role}` \|.*\|(.*)\|$", TEXT, flags=re.MULTILINE)
        assert tuple(re.findall(r"`([\w.]+)`", row)) == names

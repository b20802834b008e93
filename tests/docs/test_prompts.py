# SPDX-License-Identifier: Apache-2.0
"""Claims about docs/prompts.md: its commands are read, it names every setting, and its task is one."""

import pathlib
import re
import shlex

import pytest

from launch import train
from ntl_jax.config import AnswerSection, PromptSection
from ntl_jax.config.serialization import flatten
from ntl_jax.tasks.own import OwnTask

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "prompts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_is_read(command):
    python, script, *words = shlex.split(command)
    assert (python, script) == ("python", "launch/train.py")
    assert train.parse_args(words).config.name == "gsm8k_ntl"


def test_every_setting_has_a_row():
    rows = set(re.findall(r"^\| `((?:prompt|answer)\.\w+)` \|", TEXT, flags=re.MULTILINE))
    named = {"prompt": PromptSection(), "answer": AnswerSection()}
    assert rows == {f"{name}.{path}" for name, section in named.items() for path in flatten(section)}


def test_the_task_of_the_page_is_one(tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.py").write_text(code)
    task = OwnTask(f"{tmp_path / 'mine.py'}:Doubles", {"largest": "9"})
    assert [problem.text for problem in task.load("held_out")[0]] == [f"Twice {n} is?" for n in (1, 3, 5, 7)]

# SPDX-License-Identifier: Apache-2.0
"""What a killed process leaves half made is removed by the next one; what a living one makes is not."""

import pathlib
import subprocess
import sys

import pytest

from ntl_jax.models.unfinished import unfinished

ROOT = pathlib.Path(__file__).parents[2]
KILLED = """
import os, pathlib, sys
from ntl_jax.models.unfinished import unfinished
with unfinished(pathlib.Path(sys.argv[1])) as temporary:
    (temporary / "weights").touch()
    os._exit(143)
"""


@pytest.mark.slow
def test_the_next_process_removes_what_a_killed_one_left(tmp_path):
    target = tmp_path / "models" / "smollm[2]"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(target)], cwd=ROOT)
    assert killed.returncode == 143 and len(list(target.parent.iterdir())) == 1
    with unfinished(target) as temporary:
        assert list(target.parent.iterdir()) == [temporary]
    assert list(target.parent.iterdir()) == []


def test_a_folder_that_is_being_filled_and_those_of_other_targets_stay(tmp_path):
    (tmp_path / ".model-settings").mkdir()
    with unfinished(tmp_path / "model") as first, unfinished(tmp_path / "model-2") as second:
        with unfinished(tmp_path / "model") as third:
            assert {path.name for path in (first, second, third)} < {path.name for path in tmp_path.iterdir()}
        assert first.is_dir() and second.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == [".model-settings"]

# SPDX-License-Identifier: Apache-2.0
"""benchmarks/gpu.sh runs every row, whatever becomes of the one before, and ends with a table. Python is a stand-in."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
ROWS = {"attention", "step-0.5b", "step-1.5b", "engine", "vllm", "preset"}
PYTHON = """#!/bin/sh
case "$1 $2" in
    "-m benchmarks.gpu")
        case $3 in
            attention) echo trouble >&2; exit 3 ;;
            vllm) exec sleep 30 ;;
            *) echo '{"lines": ["PASS  claim"]}' > "$5/$3.json" ;;
        esac ;;
    "-m benchmarks.verdicts") exec REAL "$@" ;;
    "-m pip") exit 1 ;;
    "-c "*) shift 2; echo MISSING ;;
esac
"""


def run_script(folder: pathlib.Path, missing: str, script: str) -> subprocess.CompletedProcess[str]:
    """The script with a Python that lacks some packages."""
    python = folder / "python"
    python.write_text(PYTHON.replace("REAL", sys.executable).replace("MISSING", missing))
    python.chmod(0o755)
    (folder / "gpu.sh").write_text(script)
    environment = os.environ | {"PYTHON": str(python)}
    command = ["bash", str(folder / "gpu.sh"), str(folder / "out")]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture
def script(tmp_path) -> str:
    """The script with a short time for one row, which finds the repository from any folder."""
    text = (ROOT / "benchmarks" / "gpu.sh").read_text()
    assert text.count("row vllm 130") == text.count('$(dirname "$0")/..') == 1
    return text.replace("row vllm 130", "row vllm 6").replace('$(dirname "$0")/..', str(ROOT))


def test_the_other_rows_run_after_one_that_crashes_and_one_that_hangs(tmp_path, script):
    run = run_script(tmp_path, "", script)
    lines = dict(line.split(maxsplit=1) for line in run.stdout.partition("==> all rows")[2].splitlines()[1:])
    assert lines.keys() == ROWS
    assert {row for row, line in lines.items() if line.startswith("PASS")} == ROWS - {"attention", "vllm"}
    assert lines["attention"] == "FAIL  ended with exit code 3"
    assert lines["vllm"].startswith("FAIL  ran past its time limit")
    assert json.loads((tmp_path / "out" / "gpu.json").read_text())["attention"]["log"] == "trouble\n"
    assert run.returncode == 1


def test_rows_are_left_out_where_packages_lack_and_pip_cannot_help(tmp_path, script):
    run = run_script(tmp_path, "flax", script)
    assert "not installed: flax; trying pip install" in run.stdout
    assert run.stdout.count("SKIP  not installed: flax") == 2 * len(ROWS)
    assert run.returncode == 0

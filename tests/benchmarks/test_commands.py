# SPDX-License-Identifier: Apache-2.0
"""Every benchmark can be imported without its peers, and has a quick run; the quickest of them run."""

import importlib
import json
import pathlib
import re
import sys

import pytest

from benchmarks import equations, gpu, losses

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"
COMMANDS = sorted(path.stem for path in FOLDER.glob("*.py") if "def main(" in path.read_text())
NO_QUICK_RUN = {"verdicts"}  # it measures nothing
DRY = {"gpu"}


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - NO_QUICK_RUN))
def test_every_benchmark_has_a_quick_run(name, monkeypatch, capsys):
    option = "--dry" if name in DRY else "--quick"
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"benchmarks.{name}").main()
    assert end.value.code == 0
    assert f" {option}" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", [equations, losses])
def test_a_quick_run_prints_its_ratios_and_writes_nothing(benchmark, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", "--quick"])
    before = sorted((FOLDER / "results").iterdir())
    benchmark.main()
    text = capsys.readouterr().out
    assert '"ratio"' in text
    assert json.loads(text)["machine"]["num_cores"] >= 1
    assert sorted((FOLDER / "results").iterdir()) == before


@pytest.mark.slow
def test_a_dry_row_passes_and_writes_its_file(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["gpu", "attention", "--dry", "--folder", str(tmp_path)])
    gpu.main()
    verdicts = json.loads((tmp_path / "attention.json").read_text())["verdicts"]
    assert [verdict["status"] for verdict in verdicts] == ["PASS", "PASS"]


def test_the_script_runs_every_row_once():
    assert sorted(re.findall(r"^row (\S+) [0-9]+$", (FOLDER / "gpu.sh").read_text(), re.MULTILINE)) == sorted(gpu.ROWS)


def test_a_row_without_a_gpu_is_left_out_with_the_reason(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["gpu", "step-1.5b", "--folder", str(tmp_path)])
    gpu.main()
    assert capsys.readouterr().out.startswith("SKIP  JAX finds no GPU")

# SPDX-License-Identifier: Apache-2.0
"""Run folders that earlier versions wrote are resumed, evaluated and exported."""

import json
import pathlib
import shutil

import pytest

from launch import eval as evaluation
from launch import export, train
from ntl_jax.metrics import read_lines

FOLDERS = pathlib.Path(__file__).parent / "folders"
UNVERIFIED = "has no manifest, since an older version wrote it: its files are not verified"


@pytest.fixture(params=sorted(path.name for path in FOLDERS.iterdir()))
def folder(request, tmp_path):
    """A copy of a finished run of two steps a stage."""
    return pathlib.Path(shutil.copytree(FOLDERS / request.param, tmp_path / "run"))


@pytest.mark.slow
def test_a_run_of_an_earlier_version_is_resumed_evaluated_and_exported(folder, tmp_path, capsys):
    options = ["--resume", "--config.trainer.steps=3", "--allow-changed-schedule"]
    assert evaluation.main([str(folder), f"--output={tmp_path / 'evaluated'}"]) == 0
    assert export.main([str(folder), str(tmp_path / "model")]) == 0
    assert capsys.readouterr().err.count(UNVERIFIED) == 2
    metrics = json.loads((tmp_path / "evaluated" / "metrics.json").read_text())
    assert metrics["policy"] == f"{folder} after step 2 of stage ppo"
    assert json.loads((tmp_path / "model" / "config.json").read_text())["hidden_size"] == 8
    before = read_lines(folder / "metrics.jsonl")
    assert train.main([f"--workdir={folder}", *options]) == 0
    assert capsys.readouterr().out.count(UNVERIFIED) == 2  # of both stages
    lines = read_lines(folder / "metrics.jsonl")
    assert lines[: len(before)] == before and [line["step"] for line in lines[len(before) :]] == [3]

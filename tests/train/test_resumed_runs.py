# SPDX-License-Identifier: Apache-2.0
"""A resumed run equals the uninterrupted one bit for bit, wherever it stopped."""

import dataclasses
import pathlib
import shutil

import pytest

from ntl_jax.metrics import read_lines
from ntl_jax.train import run
from tests.runs import left_by

pytestmark = pytest.mark.optimized

STAGES = ("warm_start", "ppo")


def as_if_it_died_after(whole: pathlib.Path, folder: pathlib.Path, stage: str, step: int) -> None:
    """A copy of a run with what it held right after the line that follows a checkpoint."""

    def is_later(name: str, number: int, than: int) -> bool:
        return (STAGES.index(name), number) > (STAGES.index(stage), than)

    shutil.copytree(whole, folder)
    for path in folder.glob("checkpoints/*/*"):
        if path.name.isdigit() and is_later(path.parent.name, int(path.name), step):
            shutil.rmtree(path)
    for path in folder.glob("evaluations/*"):
        name, _, number = path.stem.rpartition("-")
        if is_later(name, int(number), step + 1):
            path.unlink()
    for path in folder.glob("*.jsonl"):
        lines, steps = path.read_bytes().splitlines(keepends=True), read_lines(path)
        kept = [line for line, at in zip(lines, steps, strict=True) if not is_later(at["stage"], at["step"], step + 1)]
        path.write_bytes(b"".join(kept))
    shutil.rmtree(folder / "digit_info")


@pytest.mark.parametrize("stopped", [("warm_start", 2), ("warm_start", 4), ("ppo", 2)], ids=str)
def test_a_resumed_run_equals_the_uninterrupted_one(finished, tmp_path, stopped):
    as_if_it_died_after(finished.folder, tmp_path / "run", *stopped)
    expected = left_by(finished.folder)
    assert len(left_by(tmp_path / "run")[0]) < len(expected[0])
    run(finished.config, tmp_path / "run", resume=True)
    assert left_by(tmp_path / "run") == expected


def held_out(line: dict) -> dict:
    return {name: value for name, value in line.items() if name.startswith("val/")}


def test_a_run_that_keeps_an_average_learns_as_without_is_evaluated_by_it_and_resumes(finished, tmp_path):
    def averaging(section):
        return dataclasses.replace(section, optimizer=dataclasses.replace(section.optimizer, ema_decay=0.9))

    config = dataclasses.replace(
        finished.config,
        warm_start=averaging(finished.config.warm_start),
        algorithm=averaging(finished.config.algorithm),
    )
    run(config, tmp_path / "whole")
    (lines, files), (without, _) = left_by(tmp_path / "whole"), left_by(finished.folder)
    assert lines[2] == without[2] and held_out(lines[3]) != held_out(without[3])
    assert all(line["actor/first_ratio_deviation"] <= 1e-4 for line in lines if "actor/pg_loss" in line)
    as_if_it_died_after(tmp_path / "whole", tmp_path / "resumed", "ppo", 2)
    run(config, tmp_path / "resumed", resume=True)
    assert left_by(tmp_path / "resumed") == (lines, files)

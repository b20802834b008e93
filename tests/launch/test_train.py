# SPDX-License-Identifier: Apache-2.0
"""The training command: its exit codes and what it prints and leaves."""

import pathlib
import resource
import subprocess
import sys

import jax.numpy as jnp
import pytest

from launch import train
from ntl_jax.metrics import read_lines
from ntl_jax.train import Terminated

ROOT = pathlib.Path(__file__).parents[2]
NAME = "--config=gsm8k_ntl"


def test_a_wrong_command_line_prints_one_message_and_exits_with_2(capsys):
    assert train.main(["--config=gsm8k_ntI"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: --config=gsm8k_ntI") and shown.count("\n") == 1


def test_a_mistake_that_the_run_finds_prints_a_message_and_leaves_the_folder_empty(tmp_path, capsys):
    problems, folder = tmp_path / "problems.jsonl", tmp_path / "run"
    problems.write_text('{"question": "2+3?"}\n')
    folder.mkdir()
    options = [f"--config.data.train={problems}", "--config.data.eval=other.jsonl", f"--workdir={folder}"]
    assert train.main([NAME, *options]) == 1
    shown = capsys.readouterr().err
    assert "problems.jsonl:1" in shown and "Traceback" not in shown
    assert not list(folder.iterdir())
    assert train.main([NAME, *options]) == 1 and "problems.jsonl:1" in capsys.readouterr().err


def test_an_error_of_a_library_leaves_its_traceback_in_a_folder_that_was_new(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "a run"
    monkeypatch.setattr(sys.modules["ntl_jax.train.run"], "check_packages", lambda _: int("x"))
    assert train.main([NAME, f"--workdir={folder}"]) == 1
    assert "traceback: " in capsys.readouterr().err and "ValueError" in (folder / "error.txt").read_text()
    assert [path.name for path in folder.iterdir()] == ["error.txt"]


def test_where_memory_runs_out_one_line_says_what_it_went_to(tmp_path, monkeypatch, capsys):
    def more_than_there_is(*_, **__):
        return jnp.zeros(2**56, jnp.int8).block_until_ready()

    monkeypatch.setattr(sys.modules["ntl_jax.train.run"], "build_params", more_than_there_is)
    small = ["--config.data.num_train=64", "--config.trainer.eval_problems=8", "--config.rollout.prompts_per_step=8"]
    assert train.main([NAME, *small, f"--workdir={tmp_path / 'run'}"]) == 1
    shown = capsys.readouterr().err
    answer = shown[shown.index("error: ") :]
    assert answer.startswith("error: out of memory when allocating ") and answer.count("\n") == 1
    assert "activations of a micro-batch of" in answer and "trainer.max_tokens_per_micro_batch=" in answer
    assert "Traceback" not in shown


def test_the_iterations_that_were_named_are_traced(finished):
    assert len(list(finished.folder.glob("profile/plugins/profile/*/*.trace.json.gz"))) == 1


def test_the_command_to_go_on_is_quoted(tmp_path, monkeypatch, capsys):
    def run(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("ntl_jax.train.run", run)
    assert train.main([NAME, f"--workdir={tmp_path}/a run"]) == 130
    assert f"--workdir='{tmp_path}/a run' --resume" in capsys.readouterr().err


def test_help_is_fast_and_loads_no_jax():
    script = (
        "import sys; from launch import train\ntry: train.main(['--help'])\nfinally: assert 'jax' not in sys.modules"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 3  # seconds of the processor


@pytest.mark.parametrize("command", ["train", "eval"])
def test_the_first_line_comes_before_jax_is_imported(command, tmp_path):
    words = [NAME, f"--workdir={tmp_path}"] if command == "train" else [str(tmp_path)]
    script = f"import sys; sys.modules['jax'] = None; from launch import {command} as c; c.main({words})"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert "import of jax halted" in run.stderr
    assert run.stdout.splitlines() == [
        f"gsm8k_ntl: starting, run folder {tmp_path}" if command == "train" else f"evaluating {tmp_path}"
    ]


@pytest.mark.parametrize(
    ("stop", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated("terminated after step 3"), 143, "terminated after step 3"),
    ],
)
def test_a_run_that_is_stopped_says_how_to_go_on(tmp_path, monkeypatch, capsys, stop, code, said):
    def run(*_, **__):
        raise stop

    monkeypatch.setattr("ntl_jax.train.run", run)
    assert train.main([NAME, f"--workdir={tmp_path}"]) == code
    continued = f"{str(stop) or said}; continue with: python launch/train.py --workdir={tmp_path} --resume"
    assert capsys.readouterr().err.strip() == continued and not list(tmp_path.iterdir())


def test_the_command_trains_on_two_devices_with_a_critic_and_without_ntl(tmp_path, capsys):
    small = {"model.num_layers": 1, "model.width": 32, "model.feed_forward": 32, "data.num_train": 100}
    short = {"warm_start.steps": 2, "trainer.steps": 1, "trainer.eval_problems": 16, "rollout.prompts_per_step": 2}
    other = {"ntl.enabled": "false", "algorithm.advantage": "gae"}
    overrides = [f"--config.{name}={value}" for name, value in (small | short | other).items()]
    mesh = ["--config.model.mesh", "2", "1", "1"]
    assert train.main([NAME, f"--workdir={tmp_path / 'run'}", *overrides, *mesh]) == 0
    shown = capsys.readouterr().out
    for expected in ("digits 0..9 have ids", "16 held out", "mesh data=2", "no NTL", "before PPO", str(tmp_path)):
        assert expected in shown
    last = read_lines(tmp_path / "run" / "metrics.jsonl")[-1]
    assert "critic/vf_loss" in last and not [name for name in last if "ntl" in name]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "checkpoints",
        "config.json",
        "environment.json",
        "evaluations",
        "metrics.jsonl",
        "report.html",
        "reward_errors.jsonl",
        "samples.jsonl.gz",
    }

# SPDX-License-Identifier: Apache-2.0
"""The recipes: shells and readers of YAML take them, the commands in them are read, and the container's steps run."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

from launch import train

ROOT = pathlib.Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
SCRIPTS = sorted(RECIPES.glob("*.sbatch"))
SUBSTITUTED = re.compile(r'"?\$\([^)]*\)"?|"\$\{\w+\[@\]\}"|\$resume')
"""What a shell puts in by itself: it may be empty."""


def settings_in(text: str) -> list[str]:
    """The arguments of launch/train.py in a script, with names in the place of variables."""
    joined = SUBSTITUTED.sub("", text.replace("\\\n", " "))
    (arguments,) = re.findall(r"(?:launch/train\.py|ntl-train) +(--config=[^\n]*)", joined)
    return shlex.split(re.sub(r"\$\{?(\w+)\}?", r"\1", arguments.rstrip('"')))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_shell_reads_the_script_and_the_command_its_settings(path, tmp_path, monkeypatch):
    subprocess.run(["bash", "-n", path], check=True)
    monkeypatch.chdir(tmp_path)
    args = train.parse_args(settings_in(path.read_text()))
    assert args.workdir is not None and args.workdir.name == "folder"


def test_the_pods_of_a_slice_run_a_command_that_reads_its_settings(tmp_path, monkeypatch):
    job = yaml.safe_load((RECIPES / "gke_tpu.yaml").read_text())
    (slice_of_pods,) = job["spec"]["replicatedJobs"]
    pod = slice_of_pods["template"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    monkeypatch.chdir(tmp_path)
    args = train.parse_args(settings_in(container["args"][0]))
    pods, chips = slice_of_pods["template"]["spec"]["parallelism"], container["resources"]["limits"]["google.com/tpu"]
    assert pods * chips == args.config.model.mesh[0] * args.config.model.mesh[1] * args.config.model.mesh[2] == 16
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == "4x4"


@pytest.mark.pages
@pytest.mark.timeout(900)
def test_the_steps_of_the_container_run_in_a_fresh_folder(tmp_path):
    folder, environment = tmp_path / "ntl_jax", tmp_path / "environment"
    folder.mkdir()
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    variables = os.environ | {"PATH": f"{environment / 'bin'}:{os.environ['PATH']}"}
    variables = {name: value for name, value in variables.items() if name != "PYTHONPATH"}
    steps = 0
    for line in (RECIPES / "Containerfile").read_text().splitlines():
        match line.split(maxsplit=1):
            case ["ARG", setting]:
                name, _, value = setting.partition("=")
                variables[name] = value
            case ["COPY", words]:
                *sources, target = words.split()
                for source in sources:
                    _copy(ROOT / source, folder / (source if target == "./" else target))
            case ["RUN", command]:
                steps += 1
                subprocess.run(command, shell=True, check=True, cwd=folder, env=variables, capture_output=True)
    assert steps == 2


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)

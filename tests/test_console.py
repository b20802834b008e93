# SPDX-License-Identifier: Apache-2.0
"""The commands of an installed package do what the files of launch/ do, and find their configurations."""

import os
import pathlib
import subprocess
import sys
import tomllib
import venv

import pytest
from hatchling.builders.wheel import WheelBuilder

from ntl_jax.console import command, launch_folder

ROOT = pathlib.Path(__file__).parents[1]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]


def test_every_file_of_launch_is_a_command():
    names = {f"ntl-{path.stem.replace('_', '-')}" for path in (ROOT / "launch").glob("*.py")}
    assert dict.fromkeys(sorted(names), "ntl_jax.console:main") == SCRIPTS


def test_in_a_clone_the_files_of_launch_are_named():
    assert launch_folder() == ROOT / "launch"
    assert command("train") == "python launch/train.py"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> pathlib.Path:
    """The commands of a wheel that is installed without its dependencies, which are those of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    wheel = next(WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"]))
    venv.create(folder / "venv", with_pip=False)
    site = next(folder.glob("venv/lib/python*/site-packages"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", str(folder / "venv")]
    done = subprocess.run([*pip, "install", "--no-deps", "--no-index", wheel], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    here = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "others.pth").write_text(f"{here}\n")  # after the wheel's own folder
    return folder / "venv" / "bin"


def run(*words: str | pathlib.Path, folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Runs a command outside the repository, which may be on this process's path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ntl-eval", "ntl-export", "ntl-get-model"])
def test_an_installed_command_explains_itself(installed, tmp_path, name):
    shown = run(installed / name, "--help", folder=tmp_path)
    assert shown.returncode == 0 and "usage" in shown.stdout, shown.stderr


@pytest.mark.slow
def test_an_installed_command_without_its_packages_names_the_extra(installed, tmp_path):
    site = next(installed.parent.glob("lib/python*/site-packages"))
    others = (site / "others.pth").rename(tmp_path / "others.pth")
    shown = run(installed / "ntl-train", "--help", folder=tmp_path)
    others.rename(site / "others.pth")
    assert shown.returncode == 1 and shown.stderr.count("\n") == 1, shown.stderr
    assert shown.stderr.startswith("error: ntl-train needs etils, filelock, flax, ")
    assert shown.stderr.endswith("not installed: pip install 'ntl_jax[train]'\n")


@pytest.mark.slow
def test_an_installed_command_finds_its_configurations_inside_the_package(installed, tmp_path):
    shown = run(installed / "ntl-train", "--config=gsm8k_nlt", "--workdir=run", folder=tmp_path)
    assert shown.returncode == 2 and "did you mean --config=gsm8k_ntl?" in shown.stderr, shown.stderr
    assert str(installed.parent) in shown.stderr

# SPDX-License-Identifier: Apache-2.0
"""What pyproject.toml declares is used, what is used is declared, and what users start travels with the package."""

import ast
import functools
import pathlib
import re
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DECLARED: dict[str, list[str]] = {"core": PYPROJECT["project"]["dependencies"]}
DECLARED |= PYPROJECT["project"]["optional-dependencies"]

USED_BY = {"dev": ("tests", "examples"), "dev-peers": ("tests", "tools", "benchmarks")}
"""Folders that need an extra; every other one is for the package itself."""
MODULES = {"math-verify": "math_verify", "orbax-checkpoint": "orbax", "reasoning-gym": "reasoning_gym"}
"""Names of modules that are not those of their distribution."""
NOT_IMPORTED = {
    "pre-commit": "a command", "pyright": "a command", "ruff": "a command",
    "pytest-timeout": "a plugin of pytest", "pytest-xdist": "a plugin of pytest",
}  # fmt: skip
NOT_DECLARED = {"torch": "only inside a worker of vLLM, which brings it"}


def distribution(requirement: str) -> str:
    """The name alone: "jax[cuda13]>=0.10" is jax."""
    return re.split(r"[^\w.-]", requirement)[0]


@functools.cache
def imported_by(*folders: str) -> set[str]:
    """Top-level modules that the files of some folders import, anywhere in them."""
    modules = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Import(names=names):
                    modules |= {alias.name.partition(".")[0] for alias in names}
                case ast.ImportFrom(module=str(module), level=0):
                    modules.add(module.partition(".")[0])
    return modules


@pytest.mark.parametrize("extra", DECLARED)
def test_every_declared_package_is_imported_by_the_files_that_need_it(extra):
    imported = imported_by(*USED_BY.get(extra, ("ntl_jax", "launch")))
    names = {distribution(requirement) for requirement in DECLARED[extra]} - NOT_IMPORTED.keys()
    assert {name for name in names if MODULES.get(name, name) not in imported} == set()


def test_every_package_that_the_product_imports_is_declared_for_users():
    declared = {distribution(r) for extra, names in DECLARED.items() if extra not in USED_BY for r in names}
    modules = {MODULES.get(name, name) for name in declared}
    outside = imported_by("ntl_jax", "launch", "configs") - sys.stdlib_module_names - {"ntl_jax"}
    assert outside - modules - NOT_DECLARED.keys() == set()


def test_exceptions_to_the_rule_are_all_needed():
    declared = {distribution(requirement) for names in DECLARED.values() for requirement in names}
    assert NOT_IMPORTED.keys() | MODULES.keys() <= declared
    assert NOT_DECLARED.keys() <= imported_by("ntl_jax", "launch")


def test_launch_files_travel_beside_the_configs_that_they_look_for():
    """They find configs/ in the folder above their own: the repository's root, or the installed package."""
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"launch": "ntl_jax/launch", "configs": "ntl_jax/configs"}
    assert not {"launch", "configs"} & {path.name for path in (ROOT / "ntl_jax").iterdir()}

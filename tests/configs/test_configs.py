# SPDX-License-Identifier: Apache-2.0
"""Claims about the configurations that come with the repository."""

import ast
import pathlib

import pytest

from ntl_jax.config import flatten
from ntl_jax.config_files import load_config

FILES = sorted((pathlib.Path(__file__).parents[2] / "configs").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_configuration_is_valid_and_its_header_says_how_to_run_it_and_on_what(path):
    assert load_config(path.stem).name == path.stem
    header = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert f"--config={path.stem}" in header and "Hardware: " in header


def test_the_run_with_vllm_differs_from_the_default_run_in_its_engine_alone():
    default, with_vllm = flatten(load_config("gsm8k_ntl")), flatten(load_config("gsm8k_ntl_vllm"))
    differing = {name for name in default if default[name] != with_vllm[name]}
    assert {name for name in differing if not name.startswith("rollout.vllm.")} == {"name", "rollout.engine"}

# SPDX-License-Identifier: Apache-2.0
"""Claims about docs/algorithms.md: its recipes are settings that exist and go together."""

import ast
import dataclasses
import pathlib
import re

import pytest

from ntl_jax.config import RunConfig
from ntl_jax.config.validation import find_problems

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "algorithms.md").read_text(encoding="utf-8")
TABLE = TEXT.partition("## Recipes")[2].partition("\n## ")[0]
RECIPES = dict(re.findall(r"^\| ([A-Z][^|]*?) \| (.*) \|$", TABLE, flags=re.MULTILINE))


def with_setting(section, path: str, text: str):
    """The section with the setting that the page writes as ``path=text``."""
    name, _, rest = path.partition(".")
    if rest:
        return dataclasses.replace(section, **{name: with_setting(getattr(section, name), rest, text)})
    words = {"true": True, "false": False}
    value = words[text] if text in words else ast.literal_eval(text) if text[0].isdigit() else text
    return dataclasses.replace(section, **{name: value})


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_a_valid_configuration(recipe):
    config = RunConfig()
    for path, text in re.findall(r"`([\w.]+)=([^`]+)`", RECIPES[recipe]):
        config = with_setting(config, path if path.startswith("rollout.") else f"algorithm.{path}", text)
    assert find_problems(config) == []


def test_all_recipes_of_the_table_are_read():
    assert len(RECIPES) == TABLE.count("\n| ") - 1 >= 12

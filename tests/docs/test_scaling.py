# SPDX-License-Identifier: Apache-2.0
"""docs/scaling.md: every figure of its tables is what the arithmetic says."""

import pathlib
import re

import pytest

from ntl_jax.plan.chips import CHIPS
from tools import plan_table

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("topology", plan_table.TOPOLOGIES)
@pytest.mark.parametrize("model", plan_table.MODELS)
def test_a_row_of_the_table_is_what_is_calculated(model, topology):
    assert f"| {' | '.join(plan_table.cells(model, topology))} |" in PAGE.splitlines()


@pytest.mark.parametrize("config", plan_table.CONFIGS, ids=str)
def test_a_row_of_the_second_table_is_what_is_calculated(config):
    assert f"| {' | '.join(plan_table.cells_of_config(*config))} |" in PAGE.splitlines()


def test_the_page_names_every_chip():
    named = re.search(r"number of GPUs \((.*?), all SXM\)", PAGE.replace("\n", " "))
    assert named is not None
    assert {name for name in CHIPS if name in PAGE} == CHIPS.keys()

# SPDX-License-Identifier: Apache-2.0
"""The table of metric names: lookups, families, and that the curves draw only what it explains."""

import pytest

from ntl_jax.metrics import names
from ntl_jax.metrics.report.curves import PANELS


def test_every_name_is_group_slash_name_and_has_a_meaning():
    assert all("/" in name and text for name, text in names.METRICS.items())


def test_a_familys_members_share_its_meaning_unless_they_have_their_own():
    assert names.meaning("reward/format_bonus") == names.METRICS["reward/"]
    assert names.meaning("reward/accuracy") != names.METRICS["reward/"]


@pytest.mark.parametrize("name", ["reward/", "accuracy", "actor/nonsense", "", "val/SOURCE/accuracy"])
def test_a_name_outside_the_table_is_an_error(name):
    with pytest.raises(KeyError, match="not in the table"):
        names.meaning(name)


def test_the_curves_draw_names_of_the_table_in_stages_that_exist():
    for panel in PANELS:
        assert panel.stage in names.STAGES
        assert all(names.meaning(name) for name in panel.metrics)

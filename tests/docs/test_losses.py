# SPDX-License-Identifier: Apache-2.0
"""Claims about docs/losses.md: all public names are in it, and its plot is right."""

import pathlib
import re
import runpy

import numpy as np
import pytest

import ntl_jax.losses
import ntl_jax.ops

ROOT = pathlib.Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "losses.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", [ntl_jax.losses, ntl_jax.ops], ids=["losses", "ops"])
def test_every_public_name_is_described(package):
    described = set(re.findall(r"`(\w+)", re.sub(r"^```.*?^```", "", TEXT, flags=re.MULTILINE | re.DOTALL)))
    assert set(package.__all__) - described == set()


def test_the_plot_shows_the_losses_of_this_version(tmp_path):
    tool = runpy.run_path(str(ROOT / "tools" / "plot_losses.py"))
    one, around, resting = (tool["losses_of"](probs) for _, _, probs in tool["panels"]().values())
    np.testing.assert_allclose(one["NTL-MSE"], (np.arange(10) - 4.0) ** 2)
    np.testing.assert_allclose(around["NTL-WAS"], np.arange(5.0))
    assert not any(np.any(around[name]) for name in ("NTL-MSE", "NTL-MAE", "NTL-Huber"))
    assert {name: int(np.argmin(losses)) for name, losses in resting.items()} == {
        "NTL-WAS": 4, "NTL-MSE": 6, "NTL-MAE": 6, "NTL-Huber": 6,
    }  # fmt: skip
    tool["save"](tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").stat().st_size < 60_000

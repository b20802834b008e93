# SPDX-License-Identifier: Apache-2.0
"""What is loaded from where, and where its parameters come to lie."""

import pathlib

import jax
import numpy as np
import pytest
from flax import nnx

from ntl_jax.models import load_hf, make_mesh, shardings

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def test_an_uncached_hub_name_offline_says_so_and_suggests_a_path():
    with pytest.raises(ValueError, match=r"'nobody/no-such-model' is not a folder.*offline.*give the path of a folder"):
        load_hf("nobody/no-such-model")


def test_a_path_that_is_not_there_is_no_hub_name(tmp_path):
    with pytest.raises(ValueError, match=r"is not a folder"):
        load_hf(tmp_path / "nothing")


def test_parameters_come_to_lie_where_they_belong():
    mesh = make_mesh((1, 4, 2))
    alone = nnx.state(load_hf(GOLDEN / "qwen3-untied"), nnx.Param)
    params = nnx.state(load_hf(GOLDEN / "qwen3-untied", mesh=mesh), nnx.Param)
    assert jax.tree.leaves(jax.tree.map(lambda x: x.sharding, params)) == jax.tree.leaves(shardings(params, mesh))
    jax.tree.map(np.testing.assert_array_equal, params, alone)

# SPDX-License-Identifier: Apache-2.0
"""What is loaded from where, and where its parameters come to lie."""

import pathlib
import shutil

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

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


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("name", "scan_layers"),
    [
        ("model.embed_tokens.weight", False),
        ("model.layers.1.mlp.up_proj.weight", False),
        ("model.layers.1.mlp.up_proj.weight", True),
    ],
)
def test_weights_that_are_not_finite_are_refused_with_the_tensors_name(tmp_path, name, scan_layers, value):
    folder = pathlib.Path(shutil.copytree(GOLDEN / "qwen3-untied", tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    tensors[name][1, 2:4] = value
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(
        ValueError, match=rf"model: {name}: 2 of [\d,]+ weights are NaN or infinite in float32: the che"
    ):
        load_hf(folder, scan_layers=scan_layers)


def test_weights_that_overflow_in_the_dtype_of_the_parameters_are_refused(tmp_path):
    folder = pathlib.Path(shutil.copytree(GOLDEN / "qwen3-untied", tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][0] = np.finfo(np.float32).max
    save_file(tensors, folder / "model.safetensors")
    load_hf(folder)
    with np.errstate(over="ignore"), pytest.raises(ValueError, match=r"1 of 32 weights .* in bfloat16"):
        load_hf(folder, dtype="bfloat16")

# SPDX-License-Identifier: Apache-2.0
"""Tensors are split over files as on the hub, and asked for one file at a time."""

import json

import numpy as np
import pytest

from ntl_jax.models.hf.safetensors import read_tensors
from ntl_jax.models.hf.shards import write_shards

SIZES = {"a": 8, "b": 8, "c": 16}


def array(name: str) -> np.ndarray:
    return np.full(SIZES[name] // 4, ord(name), np.float32)


@pytest.mark.parametrize(("most", "num_files"), [(32, 1), (16, 2), (1, 3)])
def test_every_tensor_is_in_one_file_that_the_index_names(tmp_path, most, num_files):
    asked: list[str] = []
    write_shards(tmp_path, SIZES, lambda name: asked.append(name) or array(name), most)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == num_files and sorted(asked) == sorted(SIZES)
    held = {name: file.name for file in files for name in read_tensors(file)}
    assert held.keys() == SIZES.keys()
    if num_files > 1:
        assert json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"] == held
    for file in files:
        for name, found in read_tensors(file).items():
            np.testing.assert_array_equal(found, array(name))

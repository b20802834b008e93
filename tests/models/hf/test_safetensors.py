# SPDX-License-Identifier: Apache-2.0
"""Safetensors files are read as they were written, in parts too, and broken ones are named."""

import json
import os
import pathlib
import shutil
import stat
import struct

import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.models import load_hf
from ntl_jax.models.hf.safetensors import open_tensors, write_tensors

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(GOLDEN / "qwen3-untied", tmp_path / "model"))


def test_a_file_that_holds_two_tensors_of_one_name_is_named(folder):
    file = folder / "model.safetensors"
    content = file.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header, entry = content[8 : 8 + size].rstrip(), json.loads(content[8 : 8 + size])["model.norm.weight"]
    end = len(content) - 8 - size
    second = entry | {"data_offsets": [end, end + 4 * 32]}
    header = header[:-1] + f', "model.norm.weight": {json.dumps(second)}}}'.encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + size :] + bytes(4 * 32))
    with pytest.raises(ValueError, match=r"model.safetensors is truncated, damaged or"):
        load_hf(folder)


@pytest.mark.parametrize("size", [4, 100, -10])
def test_a_file_that_was_cut_short_is_named(folder, size):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"model.safetensors is truncated"):
        load_hf(folder)


def test_a_damaged_header_is_named(folder):
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[8] = ord("[")
    file.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"model.safetensors is truncated, damaged or not a safetensors file"):
        load_hf(folder)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_file_may_be_read_by_whom_the_umask_lets(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_tensors(tmp_path / "file", {"a": np.zeros(2, np.float32)})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_every_supported_dtype_is_read_as_it_was_written(tmp_path, dtype):
    array = np.random.default_rng(0).normal(size=(6, 4)).astype(jnp.dtype(dtype))
    write_tensors(tmp_path / "file", {"turned": array.T, "cut": array[1:5, ::2]})
    tensors = open_tensors(tmp_path / "file")
    assert all(tensor[...].dtype == array.dtype for tensor in tensors.values())
    np.testing.assert_array_equal(tensors["turned"][1:3, 2:], array.T[1:3, 2:])
    np.testing.assert_array_equal(tensors["cut"][...], array[1:5, ::2])

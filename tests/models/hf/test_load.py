# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that do not fit, and where tensors go."""

import json
import pathlib
import shutil
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from ntl_jax.models import Decoder, ModelConfig, load_hf, make_mesh, shardings
from ntl_jax.models.hf.names import hf_layout
from ntl_jax.models.hf.safetensors import open_tensors, write_tensors

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
NORM, Q_PROJ = "model.norm.weight", "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(GOLDEN / "qwen3-untied", tmp_path / "model"))


def rewrite(folder: pathlib.Path, changes: dict[str, np.ndarray | None]) -> None:
    """Replaces tensors of the checkpoint's one file; None takes one away."""
    file = folder / "model.safetensors"
    tensors = {name: x for name, x in (load_file(file) | changes).items() if x is not None}
    save_file(tensors, file)


def test_missing_unexpected_and_wrong_shaped_tensors_are_reported_together(folder):
    rewrite(folder, {NORM: None, "model.extra": np.zeros(3, np.float32), Q_PROJ: np.zeros((4, 4), np.float32)})
    with pytest.raises(ValueError) as error:
        load_hf(folder)
    assert f"{NORM}: missing" in str(error.value)
    assert "model.extra: unexpected" in str(error.value)
    assert f"{Q_PROJ}: shape (4, 4), config.json asks for (64, 32)" in str(error.value)


def test_a_dtype_that_cannot_be_used_is_reported_once(folder):
    rewrite(folder, {NORM: np.zeros(32, np.int8)})
    with pytest.raises(ValueError, match=f"{NORM}: dtype I8 in model.safetensors, supported: F32, F16, BF16") as error:
        load_hf(folder)
    assert "missing" not in str(error.value)


def test_a_tensor_in_two_files_is_reported(tmp_path):
    folder = shutil.copytree(GOLDEN / "mistral-untied", tmp_path / "model")
    first, second = sorted(folder.glob("*.safetensors"))[:2]
    name, array = next(iter(load_file(first).items()))
    save_file(load_file(second) | {name: array}, second)
    with pytest.raises(ValueError, match=f"{name}: twice, the second time in {second.name}"):
        load_hf(folder)


def test_a_file_that_holds_two_tensors_of_one_name_is_named(folder):
    file = folder / "model.safetensors"
    content = file.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header, entry = content[8 : 8 + size].rstrip(), json.loads(content[8 : 8 + size])[NORM]
    end = len(content) - 8 - size
    second = entry | {"data_offsets": [end, end + 4 * 32]}
    header = header[:-1] + f', "{NORM}": {json.dumps(second)}}}'.encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + size :] + bytes(4 * 32))
    with pytest.raises(ValueError, match=r"model.safetensors is cut short, damaged or"):
        load_hf(folder)


def test_a_shard_that_the_index_names_and_the_folder_lacks_is_named(tmp_path):
    folder = shutil.copytree(GOLDEN / "mistral-untied", tmp_path / "model")
    next(folder.glob("*-00002-*")).unlink()
    with pytest.raises(ValueError, match=r"lacks model-00002-of-00004.safetensors"):
        load_hf(folder)


@pytest.mark.parametrize("size", [4, 100, -10])
def test_a_file_that_was_cut_short_is_named(folder, size):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"model.safetensors is cut short"):
        load_hf(folder)


def test_a_damaged_header_is_named(folder):
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[8] = ord("[")
    file.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"model.safetensors is cut short, damaged or no safetensors file"):
        load_hf(folder)


def test_a_folder_without_safetensors_says_what_is_wanted(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"holds neither model.safetensors nor model.safetensors.index.json"):
        load_hf(folder)


def test_a_second_copy_of_the_tied_matrix_is_taken_only_if_it_is_one(tmp_path):
    folder = pathlib.Path(shutil.copytree(GOLDEN / "qwen3-tied", tmp_path / "model"))
    embedding = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    rewrite(folder, {"lm_head.weight": embedding})
    assert load_hf(folder).unembedding is None
    rewrite(folder, {"lm_head.weight": embedding + 1})
    with pytest.raises(ValueError, match=r"lm_head.weight: differs from model.embed_tokens.weight, but tie_word"):
        load_hf(folder)


def test_frequencies_that_old_checkpoints_store_are_ignored(folder):
    rewrite(folder, {"model.layers.0.self_attn.rotary_emb.inv_freq": np.zeros(8, np.float32)})
    assert isinstance(load_hf(folder), Decoder)


def test_an_uncached_hub_name_offline_says_so_and_suggests_a_path(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ValueError, match=r"'nobody/no-such-model' is no folder here.*offline.*give the path of a folder"
    ):
        load_hf("nobody/no-such-model")


def test_a_path_that_is_not_there_is_no_hub_name(tmp_path):
    with pytest.raises(ValueError, match=r"is no folder here"):
        load_hf(tmp_path / "nothing")


def test_parameters_come_to_lie_where_they_belong():
    mesh = make_mesh((1, 4, 2))
    alone = nnx.state(load_hf(GOLDEN / "qwen3-untied"), nnx.Param)
    params = nnx.state(load_hf(GOLDEN / "qwen3-untied", mesh=mesh), nnx.Param)
    assert jax.tree.leaves(jax.tree.map(lambda x: x.sharding, params)) == jax.tree.leaves(shardings(params, mesh))
    jax.tree.map(np.testing.assert_array_equal, params, alone)


SMALL = ModelConfig(
    vocab_size=64,
    num_layers=1,
    width=32,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    feed_forward=64,
    tie_embeddings=False,
)


class Counting:
    """A stored tensor that counts the numbers that are read from it."""

    def __init__(self, array: np.ndarray):
        self.array, self.num_read = array, 0

    def __getitem__(self, part: tuple[slice, ...]) -> np.ndarray:
        read = self.array[part]
        self.num_read += read.size
        return read


@pytest.mark.parametrize("mesh_shape", [(1, 4, 1), (1, 1, 2), (2, 2, 2)], ids=str)
def test_only_the_part_of_a_tensor_that_a_device_needs_is_read(mesh_shape):
    params = nnx.state(Decoder(SMALL, rngs=nnx.Rngs(0)), nnx.Param)
    placement = jax.tree.leaves(shardings(params, make_mesh(mesh_shape)))
    for tensor, leaf, sharding in zip(hf_layout(params), jax.tree.leaves(params), placement, strict=True):
        for part in sharding.devices_indices_map(leaf.shape).values():
            stored = Counting(tensor.to_theirs(np.asarray(leaf)))
            np.testing.assert_array_equal(tensor.read(stored, part), leaf[part])
            assert stored.num_read == leaf[part].size


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_every_supported_dtype_is_read_as_it_was_written(tmp_path, dtype):
    array = np.random.default_rng(0).normal(size=(6, 4)).astype(jnp.dtype(dtype))
    write_tensors(tmp_path / "file", {"turned": array.T, "cut": array[1:5, ::2]})
    tensors = open_tensors(tmp_path / "file")
    assert all(tensor[...].dtype == array.dtype for tensor in tensors.values())
    np.testing.assert_array_equal(tensors["turned"][1:3, 2:], array.T[1:3, 2:])
    np.testing.assert_array_equal(tensors["cut"][...], array[1:5, ::2])

# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders that hold too much, too little or something else are refused with the names."""

import pathlib
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ntl_jax.models import Decoder, load_hf

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


def test_a_shard_that_the_index_names_and_the_folder_lacks_is_named(tmp_path):
    folder = shutil.copytree(GOLDEN / "mistral-untied", tmp_path / "model")
    next(folder.glob("*-00002-*")).unlink()
    with pytest.raises(ValueError, match=r"lacks model-00002-of-00004.safetensors"):
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

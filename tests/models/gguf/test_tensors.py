# SPDX-License-Identifier: Apache-2.0
"""Names and layout of tensors: Hugging Face's, whatever llama.cpp's converter did to them."""

import pathlib

import numpy as np
import pytest

from ntl_jax.models.decoder import abstract_decoder
from ntl_jax.models.gguf.file import open_gguf
from ntl_jax.models.gguf.settings import model_config
from ntl_jax.models.gguf.tensors import check_tensors, gguf_name, hf_array
from ntl_jax.models.hf.names import hf_layout
from ntl_jax.models.hf.safetensors import read_tensors
from tests import gguf_files
from tests.gguf_files import write_gguf

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", ["llama2-untied", "qwen2.5-untied", "qwen3-tied"])
def test_every_tensor_is_that_of_the_folder_bit_for_bit(tmp_path, name):
    file = open_gguf(write_gguf(tmp_path / "model.gguf", GOLDEN / name))
    config = model_config(file)
    stored = read_tensors(GOLDEN / name / "model.safetensors")
    check_tensors(file, hf_layout(abstract_decoder(config)[1]))
    for tensor, array in stored.items():
        np.testing.assert_array_equal(hf_array(file, tensor, config), array, err_msg=tensor)
        assert gguf_name(tensor) == gguf_files.gguf_name(tensor)


def test_llama_rows_are_put_back_by_hand_too(tmp_path):
    path = write_gguf(tmp_path / "model.gguf", GOLDEN / "llama2-untied")
    file, name = open_gguf(path), "model.layers.1.self_attn.k_proj.weight"
    stored, ours = file.array("blk.1.attn_k.weight"), hf_array(file, name, model_config(file))
    # Two heads of four features: llama.cpp's order is 0 2 1 3 of each.
    np.testing.assert_array_equal(ours, stored[[0, 2, 1, 3, 4, 6, 5, 7]])


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"output_norm.weight": None}, "1 tensors do not fit .*: output_norm.weight is missing"),
        ({"blk.0.attn_q.bias": np.zeros(32, np.float32)}, "blk.0.attn_q.bias is unexpected"),
        ({"blk.0.ffn_up.weight": np.zeros((4, 32), np.float32)}, r"blk.0.ffn_up.weight has shape \(4, 32\) instead of"),
        ({f"blk.{i}.extra.weight": np.zeros(1, np.float32) for i in range(5)}, r"5 tensors do not fit.*, \.\.\.;"),
    ],
)
def test_tensors_that_do_not_fit_are_named_in_one_line(tmp_path, tensors, says):
    file = open_gguf(write_gguf(tmp_path / "model.gguf", GOLDEN / "llama2-untied", tensors=tensors))
    with pytest.raises(ValueError, match=says) as error:
        check_tensors(file, hf_layout(abstract_decoder(model_config(file))[1]))
    assert "\n" not in str(error.value)

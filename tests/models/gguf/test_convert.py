# SPDX-License-Identifier: Apache-2.0
"""A decoder loaded from a converted GGUF file is the one of the folder that the file was made from."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from ntl_jax.models import end_token_ids, load_hf
from ntl_jax.models.gguf.convert import check_space, convert_gguf
from tests.gguf_files import write_gguf

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", ["llama2-untied", "mistral-tied", "qwen2.5-tied"])
def test_the_decoder_computes_the_same_bits(tmp_path, name):
    convert_gguf(write_gguf(tmp_path / "model.gguf", GOLDEN / name), tmp_path / "made", {"LICENSE": b"free"})
    made, expected = load_hf(tmp_path / "made"), load_hf(GOLDEN / name)
    jax.tree.map(np.testing.assert_array_equal, nnx.state(made, nnx.Param), nnx.state(expected, nnx.Param))
    tokens = jnp.arange(12)[None]
    np.testing.assert_array_equal(made(tokens), expected(tokens))
    assert (tmp_path / "made" / "LICENSE").read_bytes() == b"free"
    assert end_token_ids(tmp_path / "made") == (2,)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_matrices_in_half_precision_stay_so_and_norms_stay_exact(tmp_path):
    convert_gguf(write_gguf(tmp_path / "a.gguf", GOLDEN / "qwen3-untied", dtype=np.float16), tmp_path / "made")
    stored = load_file(tmp_path / "made" / "model.safetensors")
    assert {x.dtype for name, x in stored.items() if "norm" not in name} == {np.dtype(np.float16)}
    expected = load_file(GOLDEN / "qwen3-untied" / "model.safetensors")["model.norm.weight"]
    np.testing.assert_array_equal(stored["model.norm.weight"], expected)
    assert json.loads((tmp_path / "made" / "config.json").read_text())["torch_dtype"] == "float16"


def test_more_tokens_than_the_model_embeds_are_refused_and_nothing_is_left(tmp_path):
    texts = ["1", "2", "12", *(f"t{i}" for i in range(62))]
    tokens = {"tokenizer.ggml.tokens": texts, "tokenizer.ggml.token_type": [1] * 65, "tokenizer.ggml.merges": ["1 2"]}
    path = write_gguf(tmp_path / "a.gguf", GOLDEN / "qwen3-untied", tokens)
    with pytest.raises(ValueError, match="its tokenizer has 65 tokens, its model 64"):
        convert_gguf(path, tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["a.gguf"]


def test_too_little_space_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"its weights take 1000000.00 GB, and [\d.]+ GB are free in"):
        check_space(tmp_path, 10**15, "its weights")

# SPDX-License-Identifier: Apache-2.0
"""What a saved folder holds, and when there is none."""

import contextlib
import dataclasses
import json
import pathlib
import resource
import shutil
import tracemalloc

import jax
import numpy as np
import pytest
import safetensors
from flax import nnx
from safetensors.numpy import load_file
from transformers import AutoTokenizer

from ntl_jax.data.tokenizer import BUILT_IN
from ntl_jax.models import Decoder, ModelConfig, end_token_ids, load_hf, make_mesh, save_hf
from ntl_jax.update.state import init_params

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
CONFIG = ModelConfig(vocab_size=64, num_layers=1, width=32, num_heads=4, num_kv_heads=2, head_dim=8, feed_forward=64)


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(CONFIG, rngs=nnx.Rngs(0))


def test_a_tokenizer_goes_along_with_its_special_tokens(decoder, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(BUILT_IN)
    save_hf(decoder, tmp_path / "saved", tokenizer=tokenizer)
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").encode("12+7") == tokenizer.encode("12+7")
    for name in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "saved" / name).read_text())["eos_token_id"] == tokenizer.eos_token_id


def test_tokenizer_and_generation_settings_of_a_loaded_model_go_along(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(GOLDEN / "qwen3-tied", source)
    AutoTokenizer.from_pretrained(BUILT_IN).save_pretrained(source)
    (source / "generation_config.json").write_text('{"eos_token_id": [1, 2], "top_k": 20}')
    settings = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(settings | {"eos_token_id": 1}))
    save_hf(load_hf(source), tmp_path / "saved")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (tmp_path / "saved" / name).read_bytes() == (source / name).read_bytes()
    assert json.loads((tmp_path / "saved/config.json").read_text())["eos_token_id"] == 1
    assert not (tmp_path / "saved/golden.npz").exists()


@pytest.mark.parametrize(
    ("in_config", "in_generation", "with_tokenizer", "ends"),
    [
        ([5, 7], None, False, [5, 7]),  # no generation_config.json: the list of config.json
        ([5, 7], {"eos_token_id": 7, "top_k": 20}, False, [7, 5]),
        (5, {"eos_token_id": [7, 5]}, False, [7, 5]),
        (None, {"top_k": 20}, True, 1),
        ([5, 7], {"top_k": 20}, True, [1, 5, 7]),
        (5, None, True, [1, 5]),
    ],
)
def test_the_saved_folder_lists_the_end_tokens_of_both_files_and_the_tokenizer(
    tmp_path, in_config, in_generation, with_tokenizer, ends
):
    source, saved = tmp_path / "source", tmp_path / "saved"
    shutil.copytree(GOLDEN / "qwen3-tied", source, ignore=shutil.ignore_patterns("generation_config.json"))
    settings = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(settings | {"eos_token_id": in_config}))
    if in_generation is not None:
        (source / "generation_config.json").write_text(json.dumps(in_generation))
    tokenizer = AutoTokenizer.from_pretrained(BUILT_IN) if with_tokenizer else None
    save_hf(load_hf(source), saved, tokenizer=tokenizer)
    written = json.loads((saved / "generation_config.json").read_text())
    assert written["eos_token_id"] == ends
    assert written.get("top_k") == (in_generation or {}).get("top_k")
    expected = tuple(ends) if isinstance(ends, list) else (ends,)
    assert end_token_ids(source, tokenizer) == expected
    assert set(end_token_ids(saved)) == set(expected)


def test_further_end_tokens_of_training_are_saved(decoder, tmp_path):
    save_hf(decoder, tmp_path / "model", tokenizer=AutoTokenizer.from_pretrained(BUILT_IN), stop_token_ids=(1, 0))
    assert end_token_ids(tmp_path / "model") == (1, 0)


def test_a_source_that_is_gone_is_named_before_anything_is_written(tmp_path):
    shutil.copytree(GOLDEN / "qwen3-tied", tmp_path / "source")
    decoder = load_hf(tmp_path / "source")
    shutil.rmtree(tmp_path / "source")
    with pytest.raises(ValueError, match=r"source, where this model's tokenizer .* came from, is gone"):
        save_hf(decoder, tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_never_written_over(decoder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"already exists: name another folder"):
        save_hf(decoder, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@contextlib.contextmanager
def largest_file(num_bytes: int):
    """No file of this process may become larger, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_failure_half_way_leaves_nothing_behind(decoder, tmp_path):
    with largest_file(14_000), pytest.raises(safetensors.SafetensorError, match="File too large"):
        save_hf(decoder, tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


def test_a_sharded_decoder_is_saved_as_an_unsharded_one(tmp_path):
    save_hf(load_hf(GOLDEN / "qwen3-untied"), tmp_path / "alone")
    save_hf(load_hf(GOLDEN / "qwen3-untied", mesh=make_mesh((1, 4, 2))), tmp_path / "sharded")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "sharded" / name).read_bytes()


def test_the_source_is_forgotten_where_the_configuration_says_so(decoder, tmp_path):
    assert decoder.config.source is None
    loaded = load_hf(GOLDEN / "qwen3-tied")
    assert loaded.config.source == str(GOLDEN / "qwen3-tied")
    assert dataclasses.replace(loaded.config, source=None).to_hf() == loaded.config.to_hf()


SHARD_BYTES = 40_000


@pytest.mark.parametrize("tie_embeddings", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_shards_with_an_index_come_back_bit_for_bit(tmp_path, tie_embeddings, dtype):
    config = dataclasses.replace(CONFIG, num_layers=3, tie_embeddings=tie_embeddings, param_dtype=dtype)
    decoder = Decoder(config, rngs=nnx.Rngs(1))
    save_hf(decoder, tmp_path / "saved", max_shard_bytes=SHARD_BYTES)
    files = {path.name: load_file(path) for path in tmp_path.glob("saved/*.safetensors")}
    index = json.loads((tmp_path / "saved/model.safetensors.index.json").read_text())
    assert sorted(files) == [f"model-{i + 1:05}-of-{len(files):05}.safetensors" for i in range(len(files))]
    assert len(files) > 1
    assert index["weight_map"] == {name: file for file, tensors in files.items() for name in tensors}
    sizes = [sum(array.nbytes for array in tensors.values()) for tensors in files.values()]
    assert max(sizes) <= SHARD_BYTES and sum(sizes) == index["metadata"]["total_size"]
    again = load_hf(tmp_path / "saved", dtype=dtype)
    jax.tree.map(np.testing.assert_array_equal, nnx.state(again, nnx.Param), nnx.state(decoder, nnx.Param))
    assert (again.unembedding is None) == tie_embeddings


def test_a_tensor_larger_than_a_shard_has_a_file_of_its_own(decoder, tmp_path):
    save_hf(decoder, tmp_path / "saved", max_shard_bytes=1)
    held = [len(load_file(path)) for path in tmp_path.glob("saved/*.safetensors")]
    assert held == [1] * len(jax.tree.leaves(nnx.state(decoder, nnx.Param)))


def test_shards_without_a_size_are_refused(decoder, tmp_path):
    with pytest.raises(ValueError, match="max_shard_bytes=0 must be at least 1"):
        save_hf(decoder, tmp_path / "saved", max_shard_bytes=0)


@pytest.mark.parametrize("mesh_shape", [(1, 1, 1), (1, 4, 2)], ids=str)
def test_saving_holds_one_shard_in_memory_at_a_time(tmp_path, mesh_shape):
    config = dataclasses.replace(CONFIG, num_layers=6, width=128, feed_forward=512)
    graph, params = init_params(lambda rngs: Decoder(config, rngs=rngs), 0, make_mesh(mesh_shape))
    decoder, num_bytes = nnx.merge(graph, params), sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    shard_bytes = num_bytes // 10
    tracemalloc.start()
    save_hf(decoder, tmp_path / "saved", max_shard_bytes=shard_bytes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * shard_bytes  # arrays as fetched, and contiguous in the order of the file

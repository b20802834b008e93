# SPDX-License-Identifier: Apache-2.0
"""Small GGUF files, written as llama.cpp's converter writes them."""

import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import gguf
import numpy as np

from ntl_jax.models.hf.safetensors import read_tensors

NAMES = {
    "model.embed_tokens": "token_embd",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_attention_layernorm": "ffn_norm",
    "input_layernorm": "attn_norm",
    "model.layers": "blk",
    "model.norm": "output_norm",
    "lm_head": "output",
}
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
CHARACTERS = [*(chr(code) for code in range(ord("!"), ord("!") + 59)), "!!"]
CHARACTERS_ALONE = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": ["<|pad|>", "<|im_start|>", "<|im_end|>", *CHARACTERS, "[PAD63]"],
    "tokenizer.ggml.token_type": [3, 3, 3, *[1] * len(CHARACTERS), 5],
    "tokenizer.ggml.merges": ["! !"],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.padding_token_id": 0,
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.chat_template": "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}",
}
"""A tokenizer of 63 tokens: 59 characters, digits among them, a pair, and three special ones; one id is unused."""


def write_gguf(
    path: pathlib.Path,
    source: pathlib.Path,
    fields: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray | None] | None = None,
    *,
    dtype: type[np.generic] = np.float32,
    tokenizer: Mapping[str, Any] = CHARACTERS_ALONE,
) -> pathlib.Path:
    """Writes the model of a Hugging Face folder as GGUF; returns the path.

    Args:
        path: of the file; its folder is created.
        source: the folder; its tokenizer is not read.
        fields: further fields, or other values; None takes one away.
        tensors: further tensors by llama.cpp's name, or other ones; None takes one away.
        dtype: of the matrices.
        tokenizer: fields of the tokenizer.
    """
    config = json.loads((source / "config.json").read_text())
    name = ARCHITECTURES[config["model_type"]]
    arrays = {gguf_name(n): reordered(n, x, config) for n, x in _tensors(source).items()}
    arrays = {n: x.astype(dtype) if x.ndim > 1 else x.astype(np.float32) for n, x in arrays.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, name)
    for field, value in {**_settings(config, name), **tokenizer, **(fields or {})}.items():
        if value is not None:
            _add_field(writer, field, value)
    for tensor, array in {**arrays, **(tensors or {})}.items():
        if array is not None:
            writer.add_tensor(tensor, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_name(name: str) -> str:
    """llama.cpp's name of one of Hugging Face's tensors."""
    for theirs, ours in NAMES.items():
        name = name.replace(theirs, ours)
    return name


def reordered(name: str, array: np.ndarray, config: Mapping[str, Any]) -> np.ndarray:
    """Rows of Llama's queries and keys as llama.cpp stores them: feature i of a head, then feature i + H/2."""
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(name.split(".")[-2])
    if heads is None or ARCHITECTURES[config["model_type"]] != "llama":
        return array
    size = len(array) // config[heads]
    rows = [
        head * size + feature + offset
        for head in range(config[heads])
        for feature in range(size // 2)
        for offset in (0, size // 2)
    ]
    return array[rows]


def cut(path: pathlib.Path, num_bytes: int) -> pathlib.Path:
    """Takes bytes away from the end of a file."""
    path.write_bytes(path.read_bytes()[:-num_bytes])
    return path


def copied(path: pathlib.Path, name: str) -> pathlib.Path:
    """A copy of the file under another name."""
    return pathlib.Path(shutil.copy(path, path.with_name(name)))


def _tensors(source: pathlib.Path) -> dict[str, np.ndarray]:
    return {name: x for file in sorted(source.glob("*.safetensors")) for name, x in read_tensors(file).items()}


def _settings(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    rope = config.get("rope_parameters") or {}
    settings = {
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "block_count": config["num_hidden_layers"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.key_length": head_dim,
        "attention.layer_norm_rms_epsilon": config.get("rms_norm_eps", 1e-6),
        "rope.freq_base": rope.get("rope_theta", config.get("rope_theta", 10_000.0)),
    }
    if name == "llama":
        settings["rope.dimension_count"] = head_dim
    return {"general.type": "model", **{f"{name}.{key}": value for key, value in settings.items()}}


def _add_field(writer: gguf.GGUFWriter, name: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(name, value)
        case int():
            (writer.add_uint32 if value >= 0 else writer.add_int32)(name, value)
        case float():
            writer.add_float32(name, value)
        case str():
            writer.add_string(name, value)
        case _ if value:
            writer.add_array(name, value)

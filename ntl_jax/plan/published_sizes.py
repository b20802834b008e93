# SPDX-License-Identifier: Apache-2.0
"""Sizes of published models, so that a plan needs neither network nor account: as their ``config.json`` files say."""

import difflib
import pathlib
from collections.abc import Mapping
from typing import Any

from ntl_jax.config import RunConfig, from_home, named
from ntl_jax.data import load_tokenizer
from ntl_jax.models import ModelConfig, hf_folder
from ntl_jax.models.published import PUBLISHED
from ntl_jax.rollout.vocabulary import agree
from ntl_jax.train.policy import policy_model, stored_model

SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size")
QWEN25 = {"model_type": "qwen2", "max_position_embeddings": 32_768, "rope_theta": 1e6, "rms_norm_eps": 1e-6}
QWEN3 = {"model_type": "qwen3", "max_position_embeddings": 40_960, "rope_theta": 1e6, "head_dim": 128}
LLAMA3 = {"model_type": "llama", "vocab_size": 128_256, "rope_theta": 5e5, "rms_norm_eps": 1e-5}


def _sized(family: Mapping[str, Any], *sizes: int, **others: object) -> dict[str, Any]:
    return {**family, **dict(zip(SIZES, sizes, strict=True)), "hidden_act": "silu", **others}


_FAMILIES = {
    ("Qwen/Qwen2.5-0.5B", "-Instruct"): _sized(
        QWEN25, 896, 24, 14, 2, 4864, vocab_size=151_936, tie_word_embeddings=True
    ),
    ("Qwen/Qwen2.5-1.5B", "-Instruct"): _sized(
        QWEN25, 1536, 28, 12, 2, 8960, vocab_size=151_936, tie_word_embeddings=True
    ),
    ("Qwen/Qwen2.5-3B", "-Instruct"): _sized(
        QWEN25, 2048, 36, 16, 2, 11_008, vocab_size=151_936, tie_word_embeddings=True
    ),
    ("Qwen/Qwen2.5-7B", "-Instruct"): _sized(QWEN25, 3584, 28, 28, 4, 18_944, vocab_size=152_064),
    ("Qwen/Qwen2.5-14B", "-Instruct"): _sized(QWEN25, 5120, 48, 40, 8, 13_824, vocab_size=152_064),
    ("Qwen/Qwen2.5-32B", "-Instruct"): _sized(QWEN25, 5120, 64, 40, 8, 27_648, vocab_size=152_064),
    ("Qwen/Qwen2.5-72B", "-Instruct"): _sized(QWEN25, 8192, 80, 64, 8, 29_568, vocab_size=152_064),
    ("Qwen/Qwen3-0.6B", "-Base"): _sized(QWEN3, 1024, 28, 16, 8, 3072, vocab_size=151_936, tie_word_embeddings=True),
    ("Qwen/Qwen3-1.7B", "-Base"): _sized(QWEN3, 2048, 28, 16, 8, 6144, vocab_size=151_936, tie_word_embeddings=True),
    ("Qwen/Qwen3-8B", "-Base"): _sized(QWEN3, 4096, 36, 32, 8, 12_288, vocab_size=151_936),
    ("meta-llama/Meta-Llama-3-8B", "-Instruct"): _sized(LLAMA3, 4096, 32, 32, 8, 14_336, max_position_embeddings=8192),
    ("meta-llama/Meta-Llama-3-70B", "-Instruct"): _sized(LLAMA3, 8192, 80, 64, 8, 28_672, max_position_embeddings=8192),
}
PUBLISHED_SIZES = {f"{name}{suffix}": sizes for (name, variant), sizes in _FAMILIES.items() for suffix in ("", variant)}
"""Settings of a ``config.json``, by the name on the hub."""


def planned_model(config: RunConfig) -> ModelConfig:
    """The model of a run: that of ``model.path``, whose ``config.json`` is enough, or one from scratch.

    Args:
        config: its section ``model``, and for a model from scratch ``data.tokenizer``.

    Raises:
        ValueError: for a name whose sizes are not known, and a folder without a usable ``config.json``.

    Example:
        >>> from ntl_jax.config import ModelSection
        >>> planned_model(RunConfig(model=ModelSection(path="Qwen/Qwen2.5-7B"))).num_params
        7615616512
    """
    path = config.model.path
    if path is None:
        tokenizer = load_tokenizer(config.data.tokenizer)
        return policy_model(config, agree(tokenizer, None, config.rollout.stop_strings).num_tokens, None)
    with named("model.path", path):
        stored = stored_model(config, PUBLISHED_SIZES.get(path) or _folder(path))
    return policy_model(config, stored.vocab_size, stored)


def _folder(path: str) -> pathlib.Path:
    """The folder of a model; nothing is downloaded."""
    if not from_home(path).exists() and pathlib.Path(path).name not in PUBLISHED:
        near = difflib.get_close_matches(path, PUBLISHED_SIZES, n=2, cutoff=0.5)
        hint = f" (known is {' and '.join(near)})" if near else ""
        raise ValueError(
            f"{path} is no folder, and no published model whose sizes are known{hint}: for a plan, a folder with its "
            "config.json is enough"
        )
    return hf_folder(path)  # what is not there, it says how to get

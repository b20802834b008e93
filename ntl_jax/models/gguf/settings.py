# SPDX-License-Identifier: Apache-2.0
"""The fields of a GGUF file as a model's configuration; what the decoder does not implement is refused."""

import numpy as np

from ntl_jax.models.config import ModelConfig
from ntl_jax.models.gguf.file import GGUFFile
from ntl_jax.models.rotary import RopeScaling, rotary_frequencies

ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
"""llama.cpp's names; Mistral's models are called llama there."""
WINDOW = "attention.sliding_window"
UNSUPPORTED = (
    "attention.clamp_kqv",
    "attention.scale",
    WINDOW,
    "attention.temperature_scale",
    "attn_logit_softcapping",
    "embedding_scale",
    "expert_count",
    "final_logit_softcapping",
    "logit_scale",
    "residual_scale",
    "rope.scale_linear",
)
"""Fields that change what a model computes, and that the decoder does not implement; 0 or 1 turns each off."""
ROPE_FACTORS = "rope_freqs.weight"
"""Tensor [H/2]: by how much each rotation is slowed; written for Llama 3.1 and later."""
LLAMA_3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_positions": 8192}
"""Of all Llama 3 models; the factor differs, and is the largest of the tensor."""


def model_config(file: GGUFFile) -> ModelConfig:
    """The model in a file.

    Raises:
        ValueError: for another architecture, and settings that are missing, wrong or not implemented.
    """
    if file.architecture not in ARCHITECTURES:
        raise ValueError(
            f"{file.path} is of architecture {file.architecture!r}, which is not supported; supported: "
            f"{', '.join(ARCHITECTURES)}"
        )
    heads, width = file.setting("attention.head_count"), file.setting("embedding_length")
    head_dim = file.setting("attention.key_length") or file.setting("rope.dimension_count")
    if head_dim is None and isinstance(heads, int) and isinstance(width, int) and heads > 0:
        head_dim = width // heads
    _check_implemented(file, head_dim)
    theta = file.setting("rope.freq_base", 10_000.0)
    settings = {
        "architectures": [ARCHITECTURES[file.architecture]],
        "vocab_size": file.shape("token_embd.weight")[0] if "token_embd.weight" in file.tensors else 0,
        "num_hidden_layers": file.setting("block_count"),
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": file.setting("attention.head_count_kv", heads),
        "intermediate_size": file.setting("feed_forward_length"),
        "max_position_embeddings": file.setting("context_length"),
        "head_dim": head_dim,
        "rms_norm_eps": _shortest(file.setting("attention.layer_norm_rms_epsilon")),
        "rope_theta": _shortest(theta),
        "tie_word_embeddings": "output.weight" not in file.tensors,
    }
    try:
        config = ModelConfig.from_hf(settings | {"sliding_window": None})
    except ValueError as error:
        raise ValueError(f"{file.path}: {' '.join(str(error).split())}") from error
    scaling = _scaling(file, config.head_dim, config.rope_theta)
    return ModelConfig.from_hf({**config.to_hf(), **({"rope_scaling": scaling} if scaling else {})})


def _check_implemented(file: GGUFFile, head_dim: object) -> None:
    context, window = file.setting("context_length", 0), file.setting(WINDOW)
    is_wide = isinstance(context, int) and isinstance(window, int) and window >= context
    problems = [
        f"{file.architecture}.{name}={value}"
        for name in UNSUPPORTED
        if (value := file.setting(name, 0)) not in (0, 1) and not (name == WINDOW and is_wide)
    ]
    for name in ("rope.dimension_count", "attention.value_length"):
        if file.setting(name, head_dim) != head_dim:
            problems.append(f"{file.architecture}.{name}={file.setting(name)} for heads of size {head_dim}")
    kind, factor = file.setting("rope.scaling.type", "none"), file.setting("rope.scaling.factor", 1.0)
    if kind != "none" and factor not in (0.0, 1.0):
        problems.append(f"{file.architecture}.rope.scaling.type={kind!r}")
    if problems:
        raise ValueError(f"{file.path} has settings that are not supported: {', '.join(problems)}; give another model")


def _scaling(file: GGUFFile, head_dim: int, theta: float) -> dict[str, object] | None:
    """Llama 3's rope_scaling, read back from the factors that it implies."""
    if ROPE_FACTORS not in file.tensors:
        return None
    factors = np.asarray(file.array(ROPE_FACTORS), np.float64).ravel()
    if (factors == 1.0).all():
        return None
    factor = float(str(np.float32(factors.max())))
    scaled = rotary_frequencies(head_dim, theta, RopeScaling(factor=factor, **LLAMA_3))
    implied = rotary_frequencies(head_dim, theta).astype(np.float64) / scaled
    if factors.shape != implied.shape or not np.allclose(factors, implied, rtol=1e-4):
        raise ValueError(
            f"{file.path}: {ROPE_FACTORS} holds factors other than Llama 3's, which are the only ones supported: give "
            "another model"
        )
    original = {"original_max_position_embeddings": LLAMA_3["original_max_positions"]}
    bounds = {name: LLAMA_3[name] for name in ("low_freq_factor", "high_freq_factor")}
    return {"rope_type": "llama3", "factor": factor} | bounds | original


def _shortest(value: object) -> object:
    """The shortest number with the same bits in float32: 1e-05, where Python would show 9.999999747378752e-06."""
    return float(str(np.float32(value))) if isinstance(value, float) else value

# SPDX-License-Identifier: Apache-2.0
"""Converts Hugging Face's ``config.json`` to the fields of ``ModelConfig`` and back.

Settings that the decoder does not implement are refused, never ignored.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ntl_jax.models.rotary import RopeScaling


class Architecture(NamedTuple):
    """The differences between supported architectures."""

    model_type: str
    qkv_bias: bool
    qk_norm: bool


ARCHITECTURES = {
    "Qwen2ForCausalLM": Architecture("qwen2", qkv_bias=True, qk_norm=False),
    "Qwen3ForCausalLM": Architecture("qwen3", qkv_bias=False, qk_norm=True),
    "LlamaForCausalLM": Architecture("llama", qkv_bias=False, qk_norm=False),
    "MistralForCausalLM": Architecture("mistral", qkv_bias=False, qk_norm=False),
}

SHAPES = {
    "vocab_size": "vocab_size",
    "num_hidden_layers": "num_layers",
    "hidden_size": "width",
    "num_attention_heads": "num_heads",
    "num_key_value_heads": "num_kv_heads",
    "intermediate_size": "feed_forward",
    "max_position_embeddings": "max_positions",
}
"""Required integers, with their names in ``ModelConfig``."""

ONLY_VALUE: dict[str, object] = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "attention_dropout": 0.0,
    "quantization_config": None,
}
"""Settings with only one supported value, which is also the default of an absent key."""

ROPE_SCALING = {
    "factor": "factor",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "original_max_position_embeddings": "original_max_positions",
}
UNBOUNDED = 32_768  # written for a policy without max_positions: the value of Qwen2
MISTRAL_WINDOW = 4096  # default of an absent "sliding_window" in a Mistral configuration


def fields_from_hf(hf: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of ``ModelConfig`` from a ``config.json`` as transformers 4 or 5 writes it.

    Raises:
        ValueError: listing every unsupported or missing setting, with what is supported.
    """
    name = _architecture(hf)
    problems = [
        f"{key}={hf[key]!r} is not supported, only {value!r}"
        for key, value in ONLY_VALUE.items()
        if key in hf and hf[key] != value
    ]
    problems += [
        f"{key} must be a positive integer, got {hf.get(key)!r}" for key in SHAPES if not _is_size(hf.get(key))
    ]
    if name == "Qwen3ForCausalLM" and not hf.get("head_dim"):
        problems.append("head_dim is missing")
    if (window := _sliding_window(hf, name)) is not None:
        problems.append(f"{window} is not supported, only attention over whole sequences")
    rope = _rope(hf, problems)
    if problems:
        raise ValueError(f"{name} configuration that cannot be used:\n  " + "\n  ".join(problems))
    return {
        "architecture": name,
        **{ours: hf[theirs] for theirs, ours in SHAPES.items()},
        "head_dim": hf.get("head_dim") or hf["hidden_size"] // hf["num_attention_heads"],
        "norm_eps": hf.get("rms_norm_eps", 1e-6),
        "tie_embeddings": hf.get("tie_word_embeddings", False),
        **rope,
    }


def fields_to_hf(fields: Mapping[str, Any], scaling: RopeScaling | None) -> dict[str, Any]:
    """The inverse, with the keys that transformers 4 and 5 and vLLM read."""
    name = fields["architecture"]
    hf = {theirs: fields[ours] for theirs, ours in SHAPES.items()}
    rope_scaling = scaling and {
        "rope_type": "llama3",
        **{theirs: getattr(scaling, ours) for theirs, ours in ROPE_SCALING.items()},
    }
    return hf | {
        "max_position_embeddings": fields["max_positions"] or UNBOUNDED,
        "architectures": [name],
        "model_type": ARCHITECTURES[name].model_type,
        "hidden_act": "silu",
        "head_dim": fields["head_dim"],
        "rms_norm_eps": fields["norm_eps"],
        "rope_theta": fields["rope_theta"],
        "rope_scaling": rope_scaling,
        "sliding_window": None,
        "tie_word_embeddings": fields["tie_embeddings"],
        "torch_dtype": fields["param_dtype"],
    }


def _architecture(hf: Mapping[str, Any]) -> str:
    by_type = {architecture.model_type: name for name, architecture in ARCHITECTURES.items()}
    model_type = str(hf.get("model_type"))
    name = (hf.get("architectures") or [by_type.get(model_type, model_type)])[0]
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture {name!r} is not supported; supported: {', '.join(ARCHITECTURES)}")
    return name


def _is_size(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _sliding_window(hf: Mapping[str, Any], name: str) -> str | None:
    """The setting that limits how far back a layer attends, if there is one."""
    layers = hf.get("num_hidden_layers", 0)
    if "sliding_attention" in (hf.get("layer_types") or ()):
        return "layer_types with 'sliding_attention'"
    if name == "MistralForCausalLM":
        window = hf.get("sliding_window", MISTRAL_WINDOW)
        return None if window is None else f"sliding_window={window}"
    if hf.get("use_sliding_window") and hf.get("sliding_window") and hf.get("max_window_layers", 0) < layers:
        return f"use_sliding_window=True with max_window_layers={hf.get('max_window_layers', 0)}"
    return None


def _rope(hf: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """rope_theta and rope_scaling, which transformers 5 keeps together in ``rope_parameters``."""
    rope: Mapping[str, Any] = hf.get("rope_parameters") or hf.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    theta = rope.get("rope_theta", hf.get("rope_theta", 10_000.0))
    if hf.get("partial_rotary_factor", rope.get("partial_rotary_factor", 1.0)) != 1.0:
        problems.append("partial_rotary_factor other than 1.0 is not supported")
    if kind == "default":
        return {"rope_theta": theta, "rope_scaling": None}
    if kind != "llama3":
        problems.append(f"rope type {kind!r} is not supported, only 'default' and 'llama3'")
    elif missing := ROPE_SCALING.keys() - rope.keys():
        problems.append(f"rope type 'llama3' needs {', '.join(sorted(missing))}")
    else:
        scaling = RopeScaling(**{ours: rope[theirs] for theirs, ours in ROPE_SCALING.items()})
        return {"rope_theta": theta, "rope_scaling": scaling}
    return {}

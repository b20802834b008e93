# SPDX-License-Identifier: Apache-2.0
"""Converts Hugging Face's ``config.json`` to the fields of ``ModelConfig`` and back.

Settings that the decoder does not implement are refused, never ignored.
"""

import math
from collections.abc import Callable, Mapping
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

MOST_LAYERS = 1000
"""No decoder has as many: building modules for a mistaken number would take minutes."""
LARGEST_SIZE = 2**31 - 1
"""Larger sizes do not fit the indices of arrays."""

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
    problems += _wrong_values(hf)
    if name == "Qwen3ForCausalLM" and not hf.get("head_dim"):
        problems.append("head_dim is missing")
    if problems:  # what follows computes with them
        raise ValueError(f"{name} configuration that cannot be used:\n  " + "\n  ".join(problems))
    if (window := _sliding_window(hf, name)) is not None:
        problems.append(f"{window} is not supported, only attention over whole sequences")
    rope = _rope(hf, problems)
    if problems:
        raise ValueError(f"{name} configuration that cannot be used:\n  " + "\n  ".join(problems))
    return {
        "architecture": name,
        **{ours: hf[theirs] for theirs, ours in SHAPES.items()},
        "head_dim": hf.get("head_dim") or hf["hidden_size"] // hf["num_attention_heads"],
        "norm_eps": hf.get("rms_norm_eps") or 1e-6,
        "tie_embeddings": bool(hf.get("tie_word_embeddings")),
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
    named = hf.get("architectures") or [by_type.get(model_type, model_type)]
    if not isinstance(named, list) or not isinstance(named[0], str):
        raise ValueError(f"architectures={named!r} must be a list of names, such as [{next(iter(ARCHITECTURES))!r}]")
    name = named[0]
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture {name!r} is not supported; supported: {', '.join(ARCHITECTURES)}")
    return name


def _is_size(value: object, most: int = LARGEST_SIZE) -> bool:
    return type(value) is int and 0 < value <= most


def _is_positive(value: object) -> bool:
    """Whether it is a number above 0, and finite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


OPTIONAL: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "head_dim": ("a positive integer", _is_size),
    "rms_norm_eps": ("a number above 0 and below 1", lambda value: _is_positive(value) and value < 1),
    "tie_word_embeddings": ("true or false", lambda value: type(value) is bool),
    "use_sliding_window": ("true or false", lambda value: type(value) is bool),
    "max_window_layers": ("a whole number", lambda value: type(value) is int and value >= 0),
    "layer_types": ("a list", lambda value: isinstance(value, list)),
    "rope_parameters": ("an object", lambda value: isinstance(value, dict)),
    "rope_scaling": ("an object", lambda value: isinstance(value, dict)),
}
"""Settings that may be absent or null: what they must be otherwise."""


def _wrong_values(hf: Mapping[str, Any]) -> list[str]:
    """Sizes that are not positive integers or do not fit each other, and optional settings that are something else."""
    bounds = dict.fromkeys(SHAPES, LARGEST_SIZE) | {"num_hidden_layers": MOST_LAYERS}
    problems = [
        f"{key} must be a positive integer{f' up to {most}' if most == MOST_LAYERS else ''}, got {hf.get(key)!r}"
        for key, most in bounds.items()
        if not _is_size(hf.get(key), most)
    ]
    problems += [
        f"{key} must be {words}, got {hf[key]!r}"
        for key, (words, holds) in OPTIONAL.items()
        if hf.get(key) is not None and not holds(hf[key])
    ]
    if problems:
        return problems
    width, heads, kv_heads = (hf[key] for key in ("hidden_size", "num_attention_heads", "num_key_value_heads"))
    head_dim = hf.get("head_dim") or width // heads
    if heads % kv_heads:
        problems.append(f"num_attention_heads={heads} must be a multiple of num_key_value_heads={kv_heads}")
    if head_dim < 2 or head_dim % 2:
        problems.append(f"head_dim, or hidden_size={width} / num_attention_heads={heads}, must be even, is {head_dim}")
    return problems


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
    if not _is_positive(theta):
        problems.append(f"rope_theta must be a finite number above 0, got {theta!r}")
    if hf.get("partial_rotary_factor", rope.get("partial_rotary_factor", 1.0)) != 1.0:
        problems.append("partial_rotary_factor other than 1.0 is not supported")
    if kind == "default":
        return {"rope_theta": theta, "rope_scaling": None}
    if kind != "llama3":
        problems.append(f"rope type {kind!r} is not supported, only 'default' and 'llama3'")
    elif missing := {key for key in ROPE_SCALING if not _is_positive(rope.get(key))}:
        problems.append(f"rope type 'llama3' needs {', '.join(sorted(missing))}: finite numbers above 0")
    else:
        scaling = RopeScaling(**{ours: rope[theirs] for theirs, ours in ROPE_SCALING.items()})
        return {"rope_theta": theta, "rope_scaling": scaling}
    return {}

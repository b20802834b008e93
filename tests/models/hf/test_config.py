# SPDX-License-Identifier: Apache-2.0
"""What of a Hugging Face configuration is understood, and what is refused."""

import json
from typing import Any

import pytest

from ntl_jax.models import ModelConfig, RopeScaling

QWEN = {
    "architectures": ["Qwen2ForCausalLM"],
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "hidden_act": "silu",
    "rope_theta": 1e6,
    "use_sliding_window": False,
    "sliding_window": 32,
    "tie_word_embeddings": True,
}


LLAMA_ROPE = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def test_a_qwen_configuration_has_biases_no_norms_and_heads_of_the_width_over_their_number():
    config = ModelConfig.from_hf(QWEN)
    assert (config.qkv_bias, config.qk_norm, config.head_dim, config.tie_embeddings) == (True, False, 16, True)
    assert (config.rope_theta, config.max_positions, config.rope_scaling) == (1e6, 256, None)


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3"} | LLAMA_ROPE},
        {"rope_theta": 5e5, "rope_scaling": {"type": "llama3"} | LLAMA_ROPE},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5} | LLAMA_ROPE},
    ],
    ids=["transformers-4", "older", "transformers-5"],
)
def test_llama_3_scaling_is_read_in_every_spelling(rope):
    config = ModelConfig.from_hf(QWEN | {"architectures": None, "model_type": "llama"} | rope)
    assert config.architecture == "LlamaForCausalLM"
    assert (config.rope_theta, config.rope_scaling) == (5e5, RopeScaling(8.0, 1.0, 4.0, 64))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"architectures": ["Qwen3ForCausalLM"], "head_dim": 32, "tie_word_embeddings": False},
        {"architectures": ["LlamaForCausalLM"], "rope_scaling": {"rope_type": "llama3"} | LLAMA_ROPE},
        {"architectures": ["MistralForCausalLM"], "sliding_window": None},
    ],
    ids=str,
)
def test_a_configuration_that_is_written_and_read_again_is_the_same(changes):
    config = ModelConfig.from_hf(QWEN | changes, param_dtype="bfloat16")
    assert ModelConfig.from_hf(json.loads(json.dumps(config.to_hf())), param_dtype="bfloat16") == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architectures": ["GemmaForCausalLM"]},
            "'GemmaForCausalLM' is not supported; supported: Qwen2ForCausalLM, Q",
        ),
        ({"architectures": None, "model_type": "gpt2"}, "'gpt2' is not supported; supported: Qwen2ForCausalLM"),
        (
            {"use_sliding_window": True, "max_window_layers": 1},
            "use_sliding_window=True with max_window_layers=1 is not",
        ),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types with 'sliding_attention' is not supp"),
        ({"architectures": ["MistralForCausalLM"]}, "sliding_window=32 is not supported"),
        ({"architectures": ["Qwen3ForCausalLM"]}, "head_dim is missing"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu' is not supported, only 'silu'"),
        ({"attention_bias": True}, "attention_bias=True is not supported, only False"),
        ({"mlp_bias": True}, "mlp_bias=True is not supported, only False"),
        ({"quantization_config": {"bits": 4}}, "quantization_config="),
        (
            {"rope_scaling": {"type": "yarn", "factor": 4.0}},
            "rope type 'yarn' is not supported, only 'default' and 'll",
        ),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "needs high_freq_factor, low_freq_factor, original"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor other than 1.0"),
        ({"num_hidden_layers": None}, "num_hidden_layers must be a positive integer up to 1000, got None"),
        ({"num_key_value_heads": 3}, "num_attention_heads=4 must be a multiple of num_key_value_heads=3"),
    ],
    ids=str,
)
def test_what_is_not_supported_is_named_with_what_is(changes, message):
    with pytest.raises(ValueError) as error:
        ModelConfig.from_hf(QWEN | changes)
    assert message in str(error.value)


def test_all_problems_are_reported_at_once():
    with pytest.raises(ValueError) as error:
        ModelConfig.from_hf(QWEN | {"hidden_act": "gelu", "mlp_bias": True, "vocab_size": 0})
    assert all(name in str(error.value) for name in ("hidden_act", "mlp_bias", "vocab_size"))


def test_a_window_that_no_layer_uses_is_no_window():
    used_by_none = QWEN | {"use_sliding_window": True, "max_window_layers": 2}
    assert ModelConfig.from_hf(used_by_none) == ModelConfig.from_hf(QWEN)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"config.json is not a JSON object"):
        ModelConfig.from_hf(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json is not a JSON object"):
        ModelConfig.from_hf(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(QWEN | {"mlp_bias": True}))
    with pytest.raises(
        ValueError, match=r"config.json: Qwen2ForCausalLM configuration that cannot be used:\n  mlp_bias"
    ):
        ModelConfig.from_hf(tmp_path)


def test_num_tokens_is_within_the_embedding_and_is_not_written_to_the_file():
    config = ModelConfig.from_hf(QWEN)
    assert config.num_ids == 512
    padded = ModelConfig.from_hf(QWEN, num_tokens=500)
    assert padded.num_ids == 500 and padded.to_hf() == config.to_hf()
    for wrong in (0, 513):
        with pytest.raises(ValueError, match=rf"num_tokens={wrong} must be in \[1, vocab_size=512\]"):
            ModelConfig.from_hf(QWEN, num_tokens=wrong)


def test_a_policy_without_max_positions_is_written_with_the_value_of_qwen2():
    sizes: dict[str, Any] = {
        "num_layers": 1,
        "width": 16,
        "num_heads": 2,
        "num_kv_heads": 1,
        "head_dim": 8,
        "feed_forward": 32,
    }
    config = ModelConfig(vocab_size=32, **sizes)
    assert config.max_positions is None
    assert ModelConfig.from_hf(config.to_hf()).max_positions == 32_768

# SPDX-License-Identifier: Apache-2.0
"""Shapes and settings that make no model are refused."""

import dataclasses

import jax
import pytest

from ntl_jax.models import ModelConfig, abstract_decoder

CONFIG = ModelConfig(vocab_size=64, num_layers=2, width=32, num_heads=4, num_kv_heads=2, head_dim=8, feed_forward=64)


@pytest.mark.parametrize("setting", ["param_dtype", "compute_dtype", "attention", "remat", "architecture"])
def test_a_setting_outside_its_choices_is_refused(setting):
    with pytest.raises(ValueError, match=f"{setting}='most' must be one of"):
        dataclasses.replace(CONFIG, **{setting: "most"})


def test_impossible_shapes_are_refused_with_the_numbers_given():
    with pytest.raises(ValueError, match="num_heads=4 must be a multiple of num_kv_heads=3"):
        dataclasses.replace(CONFIG, num_kv_heads=3)
    with pytest.raises(ValueError, match="head_dim=7 must be even"):
        dataclasses.replace(CONFIG, head_dim=7)


@pytest.mark.parametrize("architecture", ["Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_number_of_parameters_is_that_of_the_decoder(architecture, tied):
    config = dataclasses.replace(CONFIG, architecture=architecture, tie_embeddings=tied)
    assert config.num_params == sum(x.size for x in jax.tree.leaves(abstract_decoder(config)[1]))

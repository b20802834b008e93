# SPDX-License-Identifier: Apache-2.0
"""A file's fields give the configuration of the folder that it was made from; what is not implemented is refused."""

import pathlib

import numpy as np
import pytest

from ntl_jax.models import ModelConfig, RopeScaling
from ntl_jax.models.gguf.file import open_gguf
from ntl_jax.models.gguf.settings import LLAMA_3, model_config
from ntl_jax.models.rotary import rotary_frequencies
from tests.gguf_files import write_gguf

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", ["llama2-untied", "mistral-tied", "qwen2.5-tied", "qwen3-untied"])
def test_the_configuration_is_that_of_the_folder(tmp_path, name):
    config = model_config(open_gguf(write_gguf(tmp_path / "model.gguf", GOLDEN / name)))
    expected = ModelConfig.from_hf(GOLDEN / name).to_hf()
    as_llama = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"} if name.startswith("mistral") else {}
    assert config.to_hf() == expected | as_llama


def test_llama_3_scaling_is_read_back_from_the_factors_it_implies(tmp_path):
    theta, scaling = 1e9, RopeScaling(factor=32.0, **LLAMA_3)
    factors = rotary_frequencies(4, theta) / rotary_frequencies(4, theta, scaling)
    np.testing.assert_allclose(factors, [1.0, 32.0], rtol=1e-6)
    fields, tensors = {"llama.rope.freq_base": theta}, {"rope_freqs.weight": factors.astype(np.float32)}
    path = write_gguf(tmp_path / "a.gguf", GOLDEN / "llama2-untied", fields, tensors)
    assert model_config(open_gguf(path)).rope_scaling == scaling


def test_other_scalings_are_refused(tmp_path):
    tensors = {"rope_freqs.weight": np.array([2.0, 32.0], np.float32)}
    path = write_gguf(tmp_path / "a.gguf", GOLDEN / "llama2-untied", tensors=tensors)
    with pytest.raises(ValueError, match="factors other than Llama 3's"):
        model_config(open_gguf(path))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"general.architecture": "phi3"}, "architecture 'phi3', which is not supported; supported: llama, qwen2, qw"),
        ({"llama.expert_count": 8}, "llama.expert_count=8"),
        ({"llama.attention.sliding_window": 16}, "llama.attention.sliding_window=16"),
        ({"llama.attention.sliding_window": [16, 64]}, "llama.attention.sliding_window=[16, 64]"),
        ({"llama.rope.dimension_count": 2}, "rope.dimension_count=2 for heads of size 4"),
        ({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0}, "rope.scaling.type='yarn'"),
        ({"llama.block_count": None}, "num_hidden_layers must be a positive integer"),
        ({"llama.attention.head_count": [8, 4]}, "num_attention_heads must be a positive integer"),
    ],
)
def test_what_the_decoder_does_not_implement_is_refused_in_one_line(tmp_path, fields, says):
    path = write_gguf(tmp_path / "a.gguf", GOLDEN / "llama2-untied", fields)
    with pytest.raises(ValueError) as error:
        model_config(open_gguf(path))
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "fields", [{"llama.attention.sliding_window": 64}, {"llama.rope.scaling.type": "none"}, {"llama.logit_scale": 1.0}]
)
def test_settings_that_change_nothing_are_taken(tmp_path, fields):
    path = write_gguf(tmp_path / "a.gguf", GOLDEN / "llama2-untied", fields)
    assert model_config(open_gguf(path)).num_layers == 2

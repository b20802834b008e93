# SPDX-License-Identifier: Apache-2.0
"""A real pretrained model, as `launch/get_model.py` writes it: the same as transformers makes of the same file."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax.data import load_tokenizer
from ntl_jax.models import end_token_ids, load_hf
from ntl_jax.models.hf.safetensors import read_tensors
from ntl_jax.models.published import PUBLISHED, FetchError, fetch

QUESTION = [{"role": "user", "content": "What is 12 + 35?"}]


@pytest.mark.slow
def test_the_folder_is_complete(smollm2):
    assert {"config.json", "generation_config.json", "tokenizer.json", "LICENSE", "origin.json"} <= {
        path.name for path in smollm2.iterdir()
    }
    assert "Apache License" in (smollm2 / "LICENSE").read_text()
    config = json.loads((smollm2 / "config.json").read_text())
    assert (config["num_hidden_layers"], config["hidden_size"], config["vocab_size"]) == (30, 576, 49_152)


@pytest.mark.slow
def test_the_tokenizer_has_its_chat_template_and_a_token_a_digit(smollm2):
    tokenizer = load_tokenizer(str(smollm2))
    text = tokenizer.apply_chat_template(QUESTION, tokenize=False)
    assert isinstance(text, str) and text.rstrip().endswith("<|im_end|>") and "What is 12 + 35?" in text
    assert tokenizer.apply_chat_template(QUESTION, tokenize=False, add_generation_prompt=True) == (
        text + "<|im_start|>assistant\n"
    )
    assert tokenizer.convert_tokens_to_ids(list("0123456789")) == list(range(32, 42))
    assert tokenizer.tokenize("  12+7") == ["ĠĠ", "1", "2", "+", "7"]
    assert end_token_ids(smollm2, tokenizer) == (2,) and tokenizer.eos_token == "<|im_end|>"


@pytest.mark.torch
def test_tensors_are_those_of_transformers_bit_for_bit_and_logits_agree(smollm2, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    try:
        file, _ = fetch(PUBLISHED["smollm2-135m"], tmp_path)
    except FetchError as error:
        pytest.skip(str(error))
    model = transformers.AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    theirs = load_gguf_checkpoint(file, return_tensors=True, model_to_load=model)["tensors"]
    ours = read_tensors(smollm2 / "model.safetensors")
    assert len(ours) == 272 and ours.keys() <= theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(theirs[name].numpy(), array, err_msg=name)
    decoder, tokenizer = load_hf(smollm2), load_tokenizer(str(smollm2))
    text = tokenizer.apply_chat_template(QUESTION, tokenize=False)
    assert isinstance(text, str)
    tokens = np.array(tokenizer(text)["input_ids"])[None]
    with torch.no_grad():
        logits = model(torch.from_numpy(tokens)).logits.numpy()
    np.testing.assert_allclose(decoder(jnp.asarray(tokens)) @ decoder.head(), logits, atol=1.5e-4, rtol=0)

# SPDX-License-Identifier: Apache-2.0
"""The same against transformers itself, where torch is installed: published shapes, every gradient, both directions."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ntl_jax.models import Decoder, ModelConfig, hf_tensors, load_hf, save_hf
from ntl_jax.ops import vocab_head

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.torch

PUBLISHED = {
    "Qwen2.5-0.5B": {
        "architectures": ["Qwen2ForCausalLM"], "hidden_size": 896, "intermediate_size": 4864,
        "num_attention_heads": 14, "num_key_value_heads": 2, "rope_theta": 1e6, "tie_word_embeddings": True,
    },
    "Qwen2.5-7B": {
        "architectures": ["Qwen2ForCausalLM"], "hidden_size": 3584, "intermediate_size": 18944,
        "num_attention_heads": 28, "num_key_value_heads": 4, "rope_theta": 1e6, "tie_word_embeddings": False,
    },
    "Qwen3-0.6B": {
        "architectures": ["Qwen3ForCausalLM"], "hidden_size": 1024, "intermediate_size": 3072, "head_dim": 128,
        "num_attention_heads": 16, "num_key_value_heads": 8, "rope_theta": 1e6, "tie_word_embeddings": True,
    },
    "Llama-3.2-1B": {
        "architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "intermediate_size": 8192, "head_dim": 64,
        "num_attention_heads": 32, "num_key_value_heads": 8, "rope_theta": 5e5, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "rope_scaling": {
            "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
    },
    "Mistral-7B-v0.3": {
        "architectures": ["MistralForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336, "head_dim": 128,
        "num_attention_heads": 32, "num_key_value_heads": 8, "rope_theta": 1e6, "tie_word_embeddings": False,
    },
}  # fmt: skip
HEAD_DIM, VOCAB_SIZE = 16, 128


def small(name: str) -> ModelConfig:
    """Two layers, one key/value head of 16 features, as many queries for it, everything else in proportion."""
    hf = PUBLISHED[name]
    heads, group = hf["num_attention_heads"], hf["num_attention_heads"] // hf["num_key_value_heads"]
    shrink = (HEAD_DIM * group) / (hf.get("head_dim", hf["hidden_size"] // heads) * heads)
    cut = {
        "num_hidden_layers": 2,
        "vocab_size": VOCAB_SIZE,
        "max_position_embeddings": 64,
        "num_attention_heads": group,
        "num_key_value_heads": 1,
        "head_dim": HEAD_DIM,
        "hidden_size": round(hf["hidden_size"] * shrink),
        "intermediate_size": round(hf["intermediate_size"] * shrink),
        "sliding_window": None,
    }
    return ModelConfig.from_hf(hf | cut)


@pytest.fixture(params=PUBLISHED)
def pair(request, tmp_path):
    """A decoder with random weights, and transformers' model read from what ``save_hf`` wrote of it."""
    decoder = Decoder(small(request.param), rngs=nnx.Rngs(0))
    graph, params = nnx.split(decoder)
    keys = iter(jax.random.split(jax.random.key(1), 100))
    noise = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(next(keys), x.shape), params)
    decoder = nnx.merge(graph, noise)
    save_hf(decoder, tmp_path / "saved")
    return decoder, transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype=torch.float32)


def test_transformers_reads_every_parameter_equal_and_warns_of_none(pair):
    decoder, model = pair
    theirs = {name: param.detach().numpy() for name, param in model.named_parameters()}
    ours = dict(hf_tensors(decoder))
    assert theirs.keys() == ours.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(theirs[name], array, err_msg=name)


def test_logits_and_all_gradients_of_published_shapes_are_those_of_transformers(pair):
    decoder, model = pair
    tokens = np.random.default_rng(0).integers(0, VOCAB_SIZE, (3, 20))
    mask = np.arange(20)[None, :] < np.array([20, 5, 13])[:, None]
    logits = model(torch.from_numpy(tokens), attention_mask=torch.from_numpy(mask).long()).logits
    ours = decoder(tokens) @ decoder.head()
    np.testing.assert_allclose(ours[mask], logits.detach().numpy()[mask], atol=2e-4, rtol=0)

    log_probs = logits[:, :-1].log_softmax(-1).gather(-1, torch.from_numpy(tokens[:, 1:, None]))[..., 0]
    (log_probs * torch.from_numpy(mask[:, 1:])).sum().backward()
    graph, params = nnx.split(decoder)

    def summed_log_prob(params):
        decoder = nnx.merge(graph, params)
        stats = vocab_head(decoder(tokens)[:, :-1], decoder.head(), jnp.asarray(tokens[:, 1:]), jnp.arange(0))
        return jnp.sum(stats.log_probs * mask[:, 1:])

    gradients = dict(hf_tensors(nnx.merge(graph, jax.jit(jax.grad(summed_log_prob))(params))))
    for name, param in model.named_parameters():
        expected = param.grad.numpy()
        assert np.linalg.norm(gradients[name] - expected) <= 1e-3 * np.linalg.norm(expected), name


def test_transformers_generates_greedily_what_the_decoder_finds_likeliest(pair):
    decoder, model = pair
    tokens = np.random.default_rng(0).integers(0, VOCAB_SIZE, (1, 4))
    generated = model.generate(torch.from_numpy(tokens), max_new_tokens=6, do_sample=False, pad_token_id=0).numpy()
    likeliest = np.argmax(decoder(generated) @ decoder.head(), axis=-1)
    np.testing.assert_array_equal(generated[:, 4:], likeliest[:, 3:-1])


@pytest.mark.parametrize("tie_embeddings", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_transformers_reads_shards_and_their_index_bit_for_bit(tmp_path, tie_embeddings, dtype):
    config = small("Qwen2.5-0.5B" if tie_embeddings else "Qwen2.5-7B")
    decoder = Decoder(dataclasses.replace(config, param_dtype=dtype), rngs=nnx.Rngs(0))
    save_hf(decoder, tmp_path / "saved", max_shard_bytes=20_000)
    assert len(list(tmp_path.glob("saved/model-*.safetensors"))) > 1
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype=getattr(torch, dtype))
    ours = dict(hf_tensors(decoder))
    assert ours.keys() == dict(model.named_parameters()).keys()
    for name, param in model.named_parameters():
        np.testing.assert_array_equal(param.detach().float().numpy(), ours[name].astype(np.float32), err_msg=name)
    model.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    assert (tmp_path / "theirs/model.safetensors.index.json").is_file()
    again = load_hf(tmp_path / "theirs", dtype=dtype)
    jax.tree.map(np.testing.assert_array_equal, nnx.state(again, nnx.Param), nnx.state(decoder, nnx.Param))


TRUE_SHAPE = {
    "vocab_size": 151_936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
    "num_attention_heads": 14, "num_key_value_heads": 2, "rope_theta": 1e6, "tie_word_embeddings": True,
    "max_position_embeddings": 32_768,
}  # fmt: skip


IN_A_PROCESS_OF_ITS_OWN = """
import json, pathlib, sys, threading, time
import jax, jax.numpy as jnp, numpy as np
from flax import nnx
from ntl_jax.models import load_hf, save_hf
from ntl_jax.ops import vocab_head

def anonymous_bytes():  # memory that no file backs
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

def watch():
    global peak
    while not loaded.wait(0.002):
        peak = max(peak, anonymous_bytes())

folder, tokens = pathlib.Path(sys.argv[1]), np.arange(16)[None]
jax.block_until_ready(jnp.zeros(1))
before, peak, loaded = anonymous_bytes(), 0, threading.Event()
watcher = threading.Thread(target=watch)
watcher.start()
decoder = jax.block_until_ready(load_hf(folder / "made"))
loaded.set()
watcher.join()

graph, params = nnx.split(decoder)
def loss(params):
    decoder = nnx.merge(graph, params)
    return -jnp.mean(vocab_head(decoder(tokens)[:, :-1], decoder.head(), tokens[:, 1:], jnp.arange(0)).log_probs)

value, gradients = jax.jit(jax.value_and_grad(loss))(params)
norm = float(jnp.sqrt(sum(jnp.sum(x * x) for x in jax.tree.leaves(gradients))))
save_hf(decoder, folder / "saved")
arrays = sum(x.nbytes for x in jax.tree.leaves(params))
print(json.dumps({"before": before, "peak": peak, "arrays": arrays, "loss": float(value), "norm": norm}))
"""


@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="measures memory through /proc")
def test_a_checkpoint_of_half_a_billion_parameters_loads_runs_and_comes_back_equal(tmp_path):
    config = transformers.Qwen2Config(**TRUE_SHAPE)
    transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(tmp_path / "made")
    command = [sys.executable, "-c", IN_A_PROCESS_OF_ITS_OWN, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    assert result.returncode == 0, result.stderr
    measured = json.loads(result.stdout.splitlines()[-1])
    print(measured)
    largest = 4 * TRUE_SHAPE["vocab_size"] * TRUE_SHAPE["hidden_size"]
    assert measured["peak"] - measured["before"] - measured["arrays"] < 2 * largest
    assert abs(measured["loss"] - np.log(TRUE_SHAPE["vocab_size"])) < 1 and 0 < measured["norm"] < 1e3
    made, saved = (
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path / name, dtype=torch.bfloat16)
        for name in ("made", "saved")
    )
    assert all(torch.equal(x, y) for x, y in zip(made.parameters(), saved.parameters(), strict=True))

# SPDX-License-Identifier: Apache-2.0
"""Greedy decoding, token for token, against transformers: stored ids everywhere, the library itself where torch is.

`python tests/rollout/test_greedy.py` writes the stored ids anew; it needs torch.
"""

import json
import pathlib
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from ntl_jax.models import Decoder, ModelConfig, make_mesh, save_hf
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Prompt, Sampling
from ntl_jax.rollout import JaxEngine
from tests.engines import weights_of

ARCHITECTURES = ("Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM")
STORED = pathlib.Path(__file__).with_name("greedy_tokens.json")
VOCAB_SIZE, MAX_TOKENS, NUM_PROMPTS = 96, 20, 50


def make_decoder(architecture: str) -> Decoder:
    """A tiny policy whose weights are functions of numpy's generator, the same with every version of JAX."""
    sizes: dict[str, Any] = {"num_layers": 2, "width": 32, "num_heads": 4, "num_kv_heads": 2, "head_dim": 8}
    config = ModelConfig(
        vocab_size=VOCAB_SIZE, feed_forward=64, **sizes, architecture=architecture, tie_embeddings=False
    )
    graph, params = nnx.split(Decoder(config, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    leaves, structure = jax.tree.flatten(params)
    scale = [0.3 if leaf.ndim > 1 else 1.0 for leaf in leaves]
    leaves = [(rng.normal(size=x.shape) * s).astype(np.float32) for x, s in zip(leaves, scale, strict=True)]
    return nnx.merge(graph, jax.tree.unflatten(structure, [jax.numpy.asarray(leaf) for leaf in leaves]))


def make_prompts() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, VOCAB_SIZE, 1 + i % 24).astype(np.int32) for i in range(NUM_PROMPTS)]


def transformers_ids(architecture: str, folder: pathlib.Path) -> list[list[int]]:
    import torch  # pyright: ignore[reportMissingImports]
    from transformers import AutoModelForCausalLM

    save_hf(make_decoder(architecture), folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    responses = []
    for prompt in make_prompts():
        ids = torch.from_numpy(prompt.astype(np.int64))[None]
        for _ in range(MAX_TOKENS):
            with torch.no_grad():
                ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
        responses.append(ids[0, len(prompt) :].tolist())
    return responses


@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def responses(architecture) -> list[list[int]]:
    table = NumberTable.from_vocab({str(d): d for d in range(10)}, vocab_size=VOCAB_SIZE)
    mesh = make_mesh((1, 1, 1), jax.devices()[:1])
    decoder = make_decoder(architecture)
    engine = JaxEngine(decoder.config, table, mesh=mesh, slots=16, max_prompt_tokens=24)
    engine.publish(weights_of(decoder))
    prompts = [Prompt(i, ids, "", "1") for i, ids in enumerate(make_prompts())]
    sampling = Sampling(num_samples=1, max_tokens=MAX_TOKENS, temperature=0.0)
    return [t.response_ids.tolist() for t in engine.generate(prompts, sampling, seed=0)]


def test_greedy_tokens_equal_the_stored_ones_of_transformers(architecture, responses):
    assert responses == json.loads(STORED.read_text())[architecture]
    assert len({tuple(response) for response in responses}) > NUM_PROMPTS // 2


def test_greedy_tokens_equal_those_of_transformers(architecture, responses, tmp_path):
    pytest.importorskip("torch")
    assert responses == transformers_ids(architecture, tmp_path)


if __name__ == "__main__":
    import tempfile

    stored = {}
    for name in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as folder:
            stored[name] = transformers_ids(name, pathlib.Path(folder))
    STORED.write_text(json.dumps(stored, separators=(",", ":")).replace('],"', '],\n"') + "\n")

# SPDX-License-Identifier: Apache-2.0
"""Makes the small models of the parity tests: ``python tools/make_golden_models.py [FOLDER]`` (needs torch).

Each folder holds a checkpoint that transformers writes from a random initialization, and ``golden.npz``: tokens of rows
padded on the right, row lengths, transformers' logits, and gradients of the summed log-prob of the next tokens. Shapes
follow published models, cut to two layers, with the same ratios of heads, widths and feed-forward.
"""

import json
import pathlib
import shutil
import sys

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from transformers import AutoConfig, AutoModelForCausalLM

FOLDER = pathlib.Path(__file__).parents[1] / "tests" / "models" / "golden"
COMMON = {"num_hidden_layers": 2, "vocab_size": 64, "max_position_embeddings": 64, "initializer_range": 0.2}
QWEN_25 = {
    "model_type": "qwen2", "hidden_size": 42, "intermediate_size": 228, "num_attention_heads": 7,
    "num_key_value_heads": 1, "rope_theta": 1e6, "torch_dtype": "bfloat16",
}  # fmt: skip
QWEN_3 = {
    "model_type": "qwen3", "hidden_size": 32, "intermediate_size": 96, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "rope_theta": 1e6,
}  # fmt: skip
LLAMA = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 128, "num_attention_heads": 8,
    "num_key_value_heads": 2, "rope_theta": 5e5, "rms_norm_eps": 1e-5,
}  # fmt: skip
LLAMA_31 = LLAMA | {
    "rope_scaling": {
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
}  # fmt: skip
MISTRAL = {
    "model_type": "mistral", "hidden_size": 32, "intermediate_size": 112, "num_attention_heads": 4,
    "num_key_value_heads": 1, "sliding_window": None,
}  # fmt: skip
MODELS = {
    "qwen2.5-tied": QWEN_25 | {"tie_word_embeddings": True},
    "qwen2.5-untied": QWEN_25,
    "qwen3-tied": QWEN_3 | {"tie_word_embeddings": True},
    "qwen3-untied": QWEN_3,
    "llama3.2-tied": LLAMA_31 | {"tie_word_embeddings": True},
    "llama2-untied": LLAMA,
    "mistral-tied": MISTRAL | {"tie_word_embeddings": True},
    "mistral-untied": MISTRAL,
}
IN_SHARDS = "mistral-untied"
GRADIENTS = (
    "model.embed_tokens.weight",
    "model.layers.0.self_attn.k_proj.weight",
    "model.layers.0.self_attn.o_proj.weight",
    "model.layers.1.input_layernorm.weight",
)
LENGTHS = (24, 7, 15)


def make(folder: pathlib.Path, settings: dict) -> None:
    """Makes one checkpoint with its golden numbers, computed in float32 whatever dtype is stored."""
    torch.manual_seed(len(folder.name))
    shutil.rmtree(folder, ignore_errors=True)
    config = AutoConfig.for_model(**COMMON | settings)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, param in model.named_parameters():
            if param.ndim == 1:  # ones and zeros would hide a missing norm or bias
                param.normal_(1.0 if "norm" in name else 0.0, 0.3)
    model.to(config.dtype or torch.float32)
    model.save_pretrained(folder, max_shard_size="40KB" if folder.name == IN_SHARDS else "1GB")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    rows = np.random.default_rng(0).integers(0, COMMON["vocab_size"], (len(LENGTHS), max(LENGTHS)))
    lengths = torch.tensor(LENGTHS)
    tokens, mask = torch.from_numpy(rows), torch.arange(max(LENGTHS))[None, :] < lengths[:, None]
    logits = model(tokens, attention_mask=mask.long()).logits
    log_probs = logits[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    (log_probs * mask[:, 1:]).sum().backward()
    params = dict(model.named_parameters())
    gradients = {f"gradient/{name}": params[name].grad.numpy() for name in GRADIENTS}
    np.savez_compressed(
        folder / "golden.npz",
        tokens=rows.astype(np.int32),
        lengths=lengths.numpy(),
        logits=logits.detach().numpy(),
        **gradients,
    )


def main() -> None:
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for name, settings in MODELS.items():
        make(folder / name, settings)
        size = sum(path.stat().st_size for path in (folder / name).iterdir())
        print(json.dumps({"folder": str(folder / name), "bytes": size}))


if __name__ == "__main__":
    main()

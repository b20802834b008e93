# SPDX-License-Identifier: Apache-2.0
"""Shapes, constants and numerics of a decoder."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, Literal, TypedDict, Unpack

from ntl_jax.models.hf.config import ARCHITECTURES, fields_from_hf, fields_to_hf
from ntl_jax.models.hf.json_object import read_object
from ntl_jax.models.rotary import RopeScaling

CHOICES = {
    "architecture": tuple(ARCHITECTURES),
    "param_dtype": ("float32", "bfloat16"),
    "compute_dtype": ("float32", "bfloat16"),
    "attention": ("auto", "xla", "cudnn", "splash"),
    "remat": ("none", "layer", "dots"),
}


class Settings(TypedDict, total=False):
    """Fields of `ModelConfig` that a checkpoint does not determine."""

    num_tokens: int | None
    param_dtype: Literal["float32", "bfloat16"]
    compute_dtype: Literal["float32", "bfloat16"]
    attention: Literal["auto", "xla", "cudnn", "splash"]
    remat: Literal["none", "layer", "dots"]
    scan_layers: bool


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A decoder of rotary grouped-query attention, gated SiLU and RMSNorm.

    Args:
        vocab_size: V, rows of the embedding.
        num_layers: L.
        width: D.
        num_heads: N query heads.
        num_kv_heads: K key/value heads; divides N.
        head_dim: H; even.
        feed_forward: F.
        rope_theta: base of the rotary frequencies.
        norm_eps: added to the mean square in RMSNorm.
        tie_embeddings: whether the transposed embedding is also the vocabulary head: one parameter.
        architecture: Qwen2 has biases on query, key and value; Qwen3 normalizes queries and keys; Llama and Mistral
            have neither.
        rope_scaling: frequency scaling of Llama 3.1 and later; None: no scaling.
        num_tokens: the tokenizer's largest id + 1, if smaller than V: ids from there on have probability 0 in training
            and sampling. None: all ids can be sampled.
        max_positions: longest row that the model supports, in tokens; engines and runs refuse longer rows.
            None: no bound, as for a policy from scratch.
        param_dtype: "float32" or "bfloat16".
        compute_dtype: dtype of activations and matrix products; norms, rotations, softmax and logits are float32.
        attention: "xla", "cudnn" (flash attention on NVIDIA, bfloat16), "splash" (TPU), or "auto": chosen by the
            platform of the mesh in effect (``jax.set_mesh``) and the shapes; "xla" without a mesh.
        remat: what the backward pass recomputes: nothing ("none"; with ``scan_layers``, what lies between products),
            all of a layer except its input ("layer"), or all except the results of products with weights ("dots").
        scan_layers: whether the layers' parameters are stacked along a leading axis, so that whole rows run through one
            compiled layer L times: the time to compile does not depend on L.
        source: folder that the model was loaded from; its tokenizer and generation settings are saved with the model.

    Example:
        >>> ModelConfig(vocab_size=512, num_layers=2, width=64, num_heads=2, num_kv_heads=1, head_dim=32,
        ...             feed_forward=128).tie_embeddings
        True
    """

    vocab_size: int
    num_layers: int
    width: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    feed_forward: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    tie_embeddings: bool = True
    architecture: str = "Qwen2ForCausalLM"
    rope_scaling: RopeScaling | None = None
    num_tokens: int | None = None
    max_positions: int | None = None
    param_dtype: Literal["float32", "bfloat16"] = "float32"
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    attention: Literal["auto", "xla", "cudnn", "splash"] = "auto"
    remat: Literal["none", "layer", "dots"] = "none"
    scan_layers: bool = False
    source: str | None = None

    def __post_init__(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads={self.num_heads} must be a multiple of num_kv_heads={self.num_kv_heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim={self.head_dim} must be even: rotary positions turn pairs of features")
        if self.num_tokens is not None and not 1 <= self.num_tokens <= self.vocab_size:
            raise ValueError(f"num_tokens={self.num_tokens} must be in [1, vocab_size={self.vocab_size}]")
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"{name}={value!r} must be one of {', '.join(choices)}")

    @property
    def num_ids(self) -> int:
        """Number of ids that can be read and sampled: all except padding of the vocabulary."""
        return self.num_tokens or self.vocab_size

    @property
    def num_params(self) -> int:
        """Number of parameters, without making a decoder: at any size it takes no time and no memory."""
        width, heads, kv_heads = self.width, self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        layer = 2 * width * (heads + kv_heads) + 3 * width * self.feed_forward + 2 * width
        layer += self.qkv_bias * (heads + 2 * kv_heads) + self.qk_norm * 2 * self.head_dim
        embeddings = (1 if self.tie_embeddings else 2) * self.vocab_size * width
        return embeddings + self.num_layers * layer + width

    @property
    def qkv_bias(self) -> bool:
        return ARCHITECTURES[self.architecture].qkv_bias

    @property
    def qk_norm(self) -> bool:
        return ARCHITECTURES[self.architecture].qk_norm

    @classmethod
    def from_hf(
        cls,
        config: Mapping[str, Any] | str | pathlib.Path,
        *,
        source: str | None = None,
        **settings: Unpack[Settings],
    ) -> "ModelConfig":
        """Reads a Hugging Face configuration.

        Args:
            config: the contents of a ``config.json``, its path, or the path of its folder.
            source: as in the field ``source``.
            settings: other fields: num_tokens, param_dtype, compute_dtype, attention, remat,
                scan_layers.

        Raises:
            ValueError: naming unsupported and supported settings; or for a path without a readable configuration.

        Example:
            >>> llama = {"model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128,
            ...          "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            ...          "max_position_embeddings": 256, "hidden_act": "silu"}
            >>> config = ModelConfig.from_hf(llama, remat="layer")
            >>> config.head_dim, config.qkv_bias, config.tie_embeddings
            (16, False, False)
        """
        if isinstance(config, Mapping):
            return cls(**fields_from_hf(config), source=source, **settings)
        path = pathlib.Path(config)
        path = path / "config.json" if path.is_dir() else path
        contents = read_object(path)
        try:
            return cls(**fields_from_hf(contents), source=source, **settings)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def to_hf(self) -> dict[str, Any]:
        """The contents of a ``config.json`` that ``from_hf``, transformers and vLLM read."""
        return fields_to_hf(dataclasses.asdict(self), self.rope_scaling)

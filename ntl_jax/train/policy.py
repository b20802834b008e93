# SPDX-License-Identifier: Apache-2.0
"""The policy of a run: its model, its tokenizer, and the tables that connect them. Weights are built last."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from ntl_jax.config import RunConfig, named
from ntl_jax.data import load_template, load_tokenizer
from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.models import (
    Decoder,
    ModelConfig,
    abstract_decoder,
    check_weights,
    hf_folder,
    load_hf,
    shardings,
)
from ntl_jax.models.sharding import free_bytes
from ntl_jax.models.stacking import scans
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Params
from ntl_jax.rollout.vocabulary import Vocabulary, agree
from ntl_jax.update.devices import training_mesh
from ntl_jax.update.state import init_params

KERNELS = {"cudnn": "gpu", "splash": "tpu"}
"""Kernels of attention that run on one platform alone."""
VOCAB_MULTIPLE = 64  # the embedding's rows are rounded up to a multiple, to divide over tensor shards


@dataclasses.dataclass(frozen=True, eq=False)
class Policy:
    """Everything about a policy except its weights.

    Args:
        model, graph: shapes, and the module without its parameters.
        mesh: mesh of the parameters and rows.
        tokenizer: tokenizer of prompts and responses.
        vocabulary: the ids shared by tokenizer and model.
        digits: table of the ten digits, whose log-probs engines capture.
        table: number tokens of the losses: digits, or all number tokens if the tokenizer has multi-digit ones.
        checkpoint: folder of its weights; None: from scratch.
    """

    model: ModelConfig
    graph: nnx.GraphDef
    mesh: Mesh
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    digits: NumberTable
    table: NumberTable
    checkpoint: pathlib.Path | None

    def shapes(self) -> Params:
        """Shapes, dtypes and shardings of the weights, without arrays."""
        params = abstract_decoder(self.model)[1]

        def placed(x: jax.ShapeDtypeStruct, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

        return jax.tree.map(placed, params, shardings(params, self.mesh))


def build_policy(config: RunConfig, tokenizer: Tokenizer | None = None) -> Policy:
    """The policy that the configuration names; no weights are loaded.

    Args:
        config: its ``model``, ``data.tokenizer``, ``prompt.template`` and ``rollout.stop_strings``.
        tokenizer: used instead of ``config.data.tokenizer`` or the tokenizer of ``config.model.path``.

    Raises:
        ValueError: for an unusable tokenizer, template, checkpoint or mesh, a tokenizer with more ids than the
            checkpoint embeds, or weights that do not fit in memory.
    """
    with named("model.path", config.model.path):
        checkpoint = None if config.model.path is None else hf_folder(config.model.path)
        stored = None if checkpoint is None else stored_model(config, checkpoint, source=str(checkpoint))
    if tokenizer is None and config.data.tokenizer is None and checkpoint is not None:
        tokenizer = load_tokenizer(str(checkpoint), given_as="model.path")
    elif tokenizer is None:
        tokenizer = load_tokenizer(config.data.tokenizer)
    template = load_template(config.prompt.template, tokenizer)
    vocabulary = agree(tokenizer, checkpoint, config.rollout.stop_strings, template.end_of_turn)
    model = policy_model(config, vocabulary.num_tokens, stored)
    mesh = training_mesh(config)
    check_attention(model, mesh.devices.flat[0].platform)
    check_parameters(config, model, mesh)
    from_checkpoint = config.data.tokenizer is None and checkpoint is not None
    with named(*(("model.path", config.model.path) if from_checkpoint else ("data.tokenizer", config.data.tokenizer))):
        digits = NumberTable.from_tokenizer(tokenizer, vocab_size=model.vocab_size)
    return Policy(
        model=model,
        graph=abstract_decoder(model)[0],
        mesh=mesh,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        digits=digits,
        table=_number_table(tokenizer, digits),
        checkpoint=checkpoint,
    )


def check_checkpoint(config: RunConfig, policy: Policy) -> None:
    """Checks that the policy's weights can be loaded; only the headers of their files are read.

    Args:
        config: of the run.
        policy: from `build_policy`; one from scratch is not checked.

    Raises:
        ValueError: as in `ntl_jax.models.check_weights`.
    """
    if policy.checkpoint is not None:
        with named("model.path", config.model.path):
            check_weights(policy.checkpoint, policy.model)


def build_params(policy: Policy, *, seed: int) -> Params:
    """The policy's initial weights: those of its checkpoint, or new ones.

    Args:
        policy: from `build_policy`.
        seed: seed of new weights.

    Raises:
        ValueError: as in `load_hf`.
    """
    model = policy.model
    if policy.checkpoint is None:
        return init_params(lambda rngs: Decoder(model, rngs=rngs), seed, policy.mesh)[1]
    decoder = load_hf(
        policy.checkpoint,
        mesh=policy.mesh,
        dtype=model.param_dtype,
        num_tokens=model.num_tokens,
        compute_dtype=model.compute_dtype,
        attention=model.attention,
        remat=model.remat,
        scan_layers=model.scan_layers,
    )
    return nnx.state(decoder, nnx.Param)


def check_parameters(config: RunConfig, model: ModelConfig, mesh: Mesh, *, copies: int = 1) -> None:
    """Checks that arrays of the parameters' size fit in memory, before anything is traced, loaded or allocated.

    Args:
        config: its ``model`` section, for the message.
        model, mesh: the policy's sizes, and where its parameters lie.
        copies: how many such arrays there are at least, with those of the optimizer.

    Raises:
        ValueError: naming the settings that decide the size, what it takes and what is there.
    """
    needed = copies * model.num_params * np.dtype(jnp.dtype(model.param_dtype)).itemsize * mesh.shape["data"]
    available = free_bytes(mesh)
    if needed <= available:
        return
    names = ("num_layers", "width", "num_heads", "head_dim", "feed_forward")
    sizes = ", ".join(f"model.{name}={getattr(config.model, name)}" for name in names)
    what = sizes if config.model.path is None else f"model.path={config.model.path!r}"
    remedy = "lower these sizes" if config.model.path is None else "use a smaller model"
    arrays = "the weights" if copies == 1 else f"weights, gradients and the optimizer's state, {copies} arrays each,"
    raise ValueError(
        f"{what}: {arrays} of {model.num_params:,} parameters take at least {needed / 2**30:,.1f} GiB, and "
        f"{available / 2**30:,.1f} GiB are there: {remedy}, or spread them over more devices with model.mesh"
    )


def check_attention(model: ModelConfig, platform: str) -> None:
    """Raises a ValueError for a kernel of another platform or dtype.

    Example:
        >>> sizes = {"width": 64, "num_heads": 2, "num_kv_heads": 1, "head_dim": 32, "feed_forward": 128}
        >>> check_attention(ModelConfig(vocab_size=512, num_layers=2, **sizes, attention="splash"), "cpu")
        Traceback (most recent call last):
        ...
        ValueError: model.attention='splash' is a kernel for tpu, and this is cpu: set it to 'auto' or 'xla'
    """
    remedy = "set it to 'auto' or 'xla'"
    if (needed := KERNELS.get(model.attention, platform)) != platform:
        raise ValueError(
            f"model.attention={model.attention!r} is a kernel for {needed}, and this is {platform}: {remedy}"
        )
    if model.attention == "cudnn" and model.compute_dtype != "bfloat16":
        raise ValueError(f"model.attention='cudnn' needs model.compute_dtype='bfloat16': set that, or {remedy}")


def _number_table(tokenizer: Tokenizer, digits: NumberTable) -> NumberTable:
    """The losses' number tokens: the digits, or all number tokens if the tokenizer has multi-digit tokens."""
    numbers = NumberTable.from_tokenizer(tokenizer, "numbers", vocab_size=digits.token_values.shape[0])
    return numbers if np.asarray(numbers.num_digits).max() > 1 else digits


def stored_model(
    config: RunConfig, checkpoint: Mapping[str, Any] | pathlib.Path, *, source: str | None = None
) -> ModelConfig:
    """The model of a checkpoint, for any tokenizer.

    Args:
        config: its section ``model``.
        checkpoint: its folder, or the contents of its ``config.json``.
        source: as in `ModelConfig`.

    Raises:
        ValueError: as `ModelConfig.from_hf`.

    Example:
        >>> llama = {"model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128,
        ...          "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        ...          "max_position_embeddings": 256, "hidden_act": "silu"}
        >>> stored_model(RunConfig(), llama).num_layers
        2
    """
    model = config.model
    return ModelConfig.from_hf(
        checkpoint,
        source=source,
        param_dtype=model.param_dtype,
        compute_dtype=model.compute_dtype,
        attention=model.attention,
        remat=model.remat,
    )


def policy_model(config: RunConfig, num_tokens: int, stored: ModelConfig | None) -> ModelConfig:
    """The checkpoint's model, or that of a policy from scratch.

    Args:
        config: its section ``model``.
        num_tokens: of the tokenizer: its ids lie below.
        stored: the checkpoint's model, for any tokenizer.

    Raises:
        ValueError: for a tokenizer with more ids than the checkpoint embeds.

    Example:
        >>> policy_model(RunConfig(), 100, None).vocab_size
        128
    """
    sizes = dataclasses.asdict(config.model)
    del sizes["path"], sizes["mesh"], sizes["scan_layers"]
    if stored is None:
        vocab_size = -(-num_tokens // VOCAB_MULTIPLE) * VOCAB_MULTIPLE
        scan_layers = scans(config.model.scan_layers, config.model.num_layers)
        return ModelConfig(vocab_size=vocab_size, num_tokens=num_tokens, scan_layers=scan_layers, **sizes)
    if num_tokens > stored.vocab_size:
        remedy = (
            "its tokenizer and config.json do not fit together: copy or download it again"
            if config.data.tokenizer is None
            else f"leave out data.tokenizer={config.data.tokenizer!r} to use the checkpoint's own"
        )
        raise ValueError(
            f"the tokenizer has ids up to {num_tokens - 1:,}, but the policy of model.path={config.model.path!r} "
            f"embeds {stored.vocab_size:,}: {remedy}"
        )
    scan_layers = scans(config.model.scan_layers, stored.num_layers)
    return dataclasses.replace(stored, num_tokens=num_tokens, scan_layers=scan_layers)

# SPDX-License-Identifier: Apache-2.0
"""Loads a Hugging Face checkpoint into a sharded decoder."""

import dataclasses
import itertools
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Unpack

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from jax.typing import DTypeLike

from ntl_jax.models.config import ModelConfig, Settings
from ntl_jax.models.decoder import Decoder, abstract_decoder
from ntl_jax.models.hf.files import stored_tensors
from ntl_jax.models.hf.folder import hf_folder
from ntl_jax.models.hf.names import Tensor, hf_layout
from ntl_jax.models.hf.safetensors import Cuttable, StoredTensor
from ntl_jax.models.sharding import shardings


def load_hf(
    path_or_hub_id: str | pathlib.Path,
    *,
    mesh: Mesh | None = None,
    dtype: DTypeLike | None = None,
    **settings: Unpack[Settings],
) -> Decoder:
    """Loads a decoder, each tensor directly from its file to the devices of its shards.

    Args:
        path_or_hub_id: a folder with config.json and safetensors, or a name on the Hugging Face hub.
        mesh: mesh of the parameters; None: the first device.
        dtype: dtype of the parameters, "float32" (the default) or "bfloat16".
        settings: other fields of ``ModelConfig``: num_tokens, compute_dtype, attention, remat,
            scan_layers.

    Raises:
        ValueError: for an unsupported configuration; naming all missing, unexpected, duplicate or wrong-shaped tensors;
            for a damaged file; for weights that are NaN or infinite; for a name that is neither a folder nor available
            on the hub.

    Example:
        >>> import tempfile
        >>> from ntl_jax.models import save_hf
        >>> sizes = {"width": 16, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "feed_forward": 32}
        >>> decoder = Decoder(ModelConfig(vocab_size=32, num_layers=1, **sizes), rngs=nnx.Rngs(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_hf(decoder, f"{folder}/policy")
        ...     bool((load_hf(f"{folder}/policy").head() == decoder.head()).all())
        True
    """
    folder = hf_folder(path_or_hub_id)
    config = ModelConfig.from_hf(folder, source=str(folder), **settings)
    if dtype is not None:
        config = dataclasses.replace(config, param_dtype=np.dtype(dtype).name)
    stored = check_weights(folder, config)
    try:
        return decoder_from(stored, config, mesh=mesh)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error


def decoder_from(stored: Mapping[str, Cuttable], config: ModelConfig, *, mesh: Mesh | None = None) -> Decoder:
    """A decoder from tensors by Hugging Face's names, each read directly to the devices of its shards.

    Of several processes each reads its share alone; all must call it.

    Args:
        stored: from `check_weights`.
        config: of the decoder.
        mesh: mesh of the parameters; None: the first device.

    Raises:
        ValueError: for weights that are NaN or infinite.
    """
    graph, params = abstract_decoder(config)
    shapes, structure = jax.tree.flatten(params)
    first = SingleDeviceSharding(jax.devices()[0])
    placement = [first] * len(shapes) if mesh is None else jax.tree.leaves(shardings(params, mesh))
    layout = hf_layout(params)
    arrays = [
        _place([(tensor, stored[tensor.name]) for tensor in layout if tensor.leaf == index], like, sharding)
        for index, (like, sharding) in enumerate(zip(shapes, placement, strict=True))
    ]
    return nnx.merge(graph, jax.tree.unflatten(structure, arrays))


def check_weights(folder: pathlib.Path, config: ModelConfig) -> dict[str, StoredTensor]:
    """Every tensor of a decoder, unread: only the files' headers are.

    Args:
        folder: of the checkpoint.
        config: of the decoder.

    Raises:
        ValueError: naming all missing, unexpected, duplicate or wrong-shaped tensors; for a damaged or missing file.
    """
    return stored_tensors(folder, hf_layout(abstract_decoder(config)[1]), tied=config.tie_embeddings)


def _place(
    tensors: Sequence[tuple[Tensor, Cuttable]], like: jax.ShapeDtypeStruct, sharding: jax.sharding.Sharding
) -> jax.Array:
    """Reads only this process's share of an array, of one tensor or of that of each layer, and each part once."""
    parts: dict[tuple[tuple[int, ...], ...], np.ndarray] = {}

    def read_once(part: tuple[slice, ...] | None) -> np.ndarray:
        assert part is not None, "JAX names a part of every array that has axes"
        key = tuple(axis.indices(size) for axis, size in zip(part, like.shape, strict=True))
        if key not in parts:  # which several devices may have
            parts[key] = read(part)
        return parts[key]

    def read(part: tuple[slice, ...]) -> np.ndarray:
        [(tensor, stored), *others] = tensors
        if tensor.layer is None:
            assert not others, "only stacked layers are several tensors"
            return np.ascontiguousarray(_finite(tensor.name, tensor.read(stored, part), like.dtype))
        layers, *of_layer = part
        return np.stack([_finite(t.name, t.read(s, tuple(of_layer)), like.dtype) for t, s in tensors[layers]])

    by_rows = _by_rows(tensors[0][0], like.shape, sharding)
    array = jax.make_array_from_callback(like.shape, by_rows, read_once)
    return array if by_rows is sharding else jax.device_put(array, sharding)


def _by_rows(tensor: Tensor, shape: tuple[int, ...], sharding: jax.sharding.Sharding) -> jax.sharding.Sharding:
    """The sharding in which several processes read an array, before their devices exchange it: rows of the tensor.

    Rows lie together in the file. Of a range of columns, whose pieces are shorter than what a disk or a network file
    system reads ahead, each process would read the whole file.
    """
    if not isinstance(sharding, NamedSharding) or not sharding.mesh.is_multi_process or len(tensor.stored_shape) == 1:
        return sharding
    assert isinstance(sharding.mesh, Mesh)
    rows = tensor.num_inputs + (tensor.layer is not None)
    of_axis = [() if names is None else (names,) if isinstance(names, str) else names for names in sharding.spec]
    of_axis += [()] * (len(shape) - len(of_axis))
    names = (*of_axis.pop(rows), *itertools.chain.from_iterable(of_axis))
    if not any(of_axis) or shape[rows] % math.prod(sharding.mesh.shape[name] for name in names):
        return sharding
    return NamedSharding(sharding.mesh, PartitionSpec(*[None] * rows, names))


def _finite(name: str, stored: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """Weights in this dtype. Checking takes 0.1 s per GiB in float32, 5% of converting them from bfloat16."""
    weights = np.asarray(stored, dtype)
    if (finite := np.isfinite(weights)).all():
        return weights
    raise ValueError(
        f"{name}: {weights.size - finite.sum():,} of {weights.size:,} weights are NaN or infinite in {weights.dtype}: "
        "the checkpoint is damaged, or its training diverged; copy or download it again, or give another one"
    )

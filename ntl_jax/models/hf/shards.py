# SPDX-License-Identifier: Apache-2.0
"""Writes the tensors of a checkpoint folder: in one file, or in several with an index, as on the hub."""

import pathlib
from collections.abc import Callable, Mapping

import numpy as np
from huggingface_hub import split_state_dict_into_shards_factory

from ntl_jax.models.hf.files import INDEX
from ntl_jax.models.hf.json_object import write_object
from ntl_jax.models.hf.safetensors import write_tensors

MAX_SHARD_BYTES = 5 * 10**9  # the hub's convention


def write_shards(
    folder: pathlib.Path,
    sizes: Mapping[str, int],
    array: Callable[[str], np.ndarray],
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Writes model.safetensors, or several files and model.safetensors.index.json; the host holds one file at a time.

    Args:
        folder: of the checkpoint.
        sizes: bytes of every tensor, by Hugging Face's name.
        array: gives the tensor of a name.
        max_shard_bytes: most bytes per file; a larger tensor has its own file.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> write_shards(folder, {"a": 4, "b": 4}, lambda name: np.zeros(1, np.float32), max_shard_bytes=4)
        >>> sorted(path.name for path in folder.iterdir())[-1]
        'model.safetensors.index.json'
    """
    split = split_state_dict_into_shards_factory(
        dict(sizes),
        get_storage_size=lambda size: size,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=max_shard_bytes,
    )
    for file, names in split.filename_to_tensors.items():
        write_tensors(folder / file, {name: array(name) for name in names})
    if split.is_sharded:
        write_object(folder / INDEX, {"metadata": split.metadata, "weight_map": split.tensor_to_filename})

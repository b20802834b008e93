# SPDX-License-Identifier: Apache-2.0
"""Safetensors files, read and written by the library (https://github.com/huggingface/safetensors).

This module adds what the library leaves to its callers:
- ``safetensors.numpy.save_file`` writes an array's memory whatever its strides: a transposed view would be stored with
  the wrong values, so arrays are made contiguous first.
- The library reads every dtype. This module checks that a decoder supports it, and reports all bad tensors at once.
- The library's errors do not name the file.
- The library makes files that only their owner may read, whatever the umask allows.
"""

import pathlib
import stat
from collections.abc import Mapping
from types import EllipsisType
from typing import Protocol

import numpy as np
import safetensors
import safetensors.numpy

from ntl_jax.config import LFS_POINTER

DTYPES = ("F32", "F16", "BF16")
METADATA = {"format": "pt"}  # transformers refuses files that do not name their framework


class Cuttable(Protocol):
    """An array, or a tensor in a file that is read by slicing: ``tensor[2:4, :]`` reads only these bytes."""

    def __getitem__(self, part: tuple[slice, ...], /) -> np.ndarray: ...


class StoredTensor(Cuttable, Protocol):
    """A tensor in a file, unread."""

    def __getitem__(self, part: slice | tuple[slice, ...] | EllipsisType, /) -> np.ndarray: ...

    def get_shape(self) -> list[int]: ...

    def get_dtype(self) -> str: ...


def open_tensors(path: pathlib.Path) -> dict[str, StoredTensor]:
    """The tensors of a file by name, unread.

    Raises:
        ValueError: for a file that is truncated, damaged or not a safetensors file.
    """
    with path.open("rb") as start:
        if start.read(len(LFS_POINTER)) == LFS_POINTER:
            raise ValueError(f"{path} is a pointer of git-lfs, not the file: fetch the file with git lfs pull")
    try:
        file = safetensors.safe_open(path, framework="numpy")
        return {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  it is not a mapping
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is truncated, damaged or not a safetensors file: copy or download it again ({error})"
        ) from error


def unreadable_tensors(tensors: Mapping[str, StoredTensor], path: pathlib.Path) -> list[str]:
    """A description of each tensor whose dtype no decoder supports."""
    dtypes = {name: tensor.get_dtype() for name, tensor in tensors.items()}
    return [
        f"{name}: dtype {dtype} in {path.name}, supported: {', '.join(DTYPES)}"
        for name, dtype in dtypes.items()
        if dtype not in DTYPES
    ]


def read_tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads all tensors of a file, by name.

    Raises:
        ValueError: for a file that cannot be read, or dtypes that no decoder supports.
    """
    tensors = open_tensors(path)
    if problems := unreadable_tensors(tensors, path):
        raise ValueError(f"{path}: {'; '.join(problems)}")
    return {name: tensor[...] for name, tensor in tensors.items()}


def write_tensors(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays of any strides as one file."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)  # of a new file, as the umask has it
    safetensors.numpy.save_file(contiguous, path, metadata=METADATA)
    path.chmod(mode)

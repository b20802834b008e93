# SPDX-License-Identifier: Apache-2.0
"""Safetensors files, read and written by the library (https://github.com/huggingface/safetensors).

Left to us, because the library leaves it to its callers:
- ``safetensors.numpy.save_file`` writes an array's memory as it lies, whatever its strides: a transposed view would be
  stored with the wrong values, so arrays are made contiguous first.
- It reads every dtype. Which ones a decoder takes is checked here, tensor by tensor, so that all are reported at once.
- Its errors do not name the file.
"""

import pathlib
from collections.abc import Mapping
from types import EllipsisType
from typing import Protocol

import numpy as np
import safetensors
import safetensors.numpy

DTYPES = ("F32", "F16", "BF16")
METADATA = {"format": "pt"}  # transformers refuses files that do not say which framework's conventions they follow


class Cuttable(Protocol):
    """An array, or what reads from a file when it is cut like one: ``tensor[2:4, :]`` copies these bytes out of it."""

    def __getitem__(self, part: tuple[slice, ...], /) -> np.ndarray: ...


class StoredTensor(Cuttable, Protocol):
    """A tensor in a file, unread."""

    def __getitem__(self, part: slice | tuple[slice, ...] | EllipsisType, /) -> np.ndarray: ...

    def get_shape(self) -> list[int]: ...

    def get_dtype(self) -> str: ...


def open_tensors(path: pathlib.Path) -> dict[str, StoredTensor]:
    """The tensors of a file by name, unread.

    Raises:
        ValueError: for a file that is cut short, damaged or no safetensors file.
    """
    try:
        file = safetensors.safe_open(path, framework="numpy")
        return {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is cut short, damaged or no safetensors file: copy or download it again ({error})"
        ) from error


def unreadable_tensors(tensors: Mapping[str, StoredTensor], path: pathlib.Path) -> list[str]:
    """What is wrong with each tensor whose dtype no decoder takes."""
    dtypes = {name: tensor.get_dtype() for name, tensor in tensors.items()}
    return [
        f"{name}: dtype {dtype} in {path.name}, supported: {', '.join(DTYPES)}"
        for name, dtype in dtypes.items()
        if dtype not in DTYPES
    ]


def read_tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of a file by name, all of them read.

    Raises:
        ValueError: for a file that cannot be read, or dtypes that no decoder takes.
    """
    tensors = open_tensors(path)
    if problems := unreadable_tensors(tensors, path):
        raise ValueError(f"{path}: {'; '.join(problems)}")
    return {name: tensor[...] for name, tensor in tensors.items()}


def write_tensors(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays of any strides as one file."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    safetensors.numpy.save_file(contiguous, path, metadata=METADATA)

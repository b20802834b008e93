# SPDX-License-Identifier: Apache-2.0
"""A GGUF file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): its fields, and its tensors on demand."""

import dataclasses
import importlib.metadata
import importlib.util
import pathlib
import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from ntl_jax.config import LFS_POINTER

if TYPE_CHECKING:
    from gguf import GGUFReader, ReaderTensor  # of an extra, and only needed for files of this format

MAGIC, ENDING = b"GGUF", ".gguf"
SPLIT = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
"""How llama.cpp names the parts of a model."""
PLAIN = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16), "BF16": np.dtype(jnp.bfloat16)}
"""Types of tensors that are kept; all others become float32."""
OTHER_KINDS = {
    "adapter": "an adapter (LoRA), not a model: merge it into its base model with llama.cpp's llama-export-lora",
    "mmproj": "the vision or audio part of a model: give the file of its language model",
    "imatrix": "statistics for quantizing a model: give the model's own file",
    "vocab": "a vocabulary without weights: give the file of the model",
}
"""Values of the field ``general.type`` other than "model"."""


@dataclasses.dataclass(frozen=True, eq=False)
class GGUFFile:
    """An open file; the tensors are mapped from disk.

    Args:
        path: path of the file.
        fields: its metadata by name, such as ``general.architecture``; arrays are lists.
        tensors: by name; quantized ones as bytes.
    """

    path: pathlib.Path
    fields: Mapping[str, Any]
    tensors: "Mapping[str, ReaderTensor]"

    @property
    def architecture(self) -> str:
        return str(self.fields.get("general.architecture"))

    def setting(self, name: str, default: Any = None) -> Any:  # noqa: ANN401  numbers, texts, lists
        """The architecture's field of this name, such as ``block_count``."""
        return self.fields.get(f"{self.architecture}.{name}", default)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor as numpy and PyTorch count axes: [outputs, inputs] of a matrix."""
        return tuple(int(size) for size in self.tensors[name].shape[::-1])

    def dtype(self, name: str) -> np.dtype:
        """Dtype of `array`."""
        return PLAIN.get(self.tensors[name].tensor_type.name, np.dtype(np.float32))

    def array(self, name: str) -> np.ndarray:
        """A tensor as it is stored if that is F32, F16 or BF16, otherwise dequantized to float32."""
        import gguf

        tensor, shape = self.tensors[name], self.shape(name)
        kind = tensor.tensor_type.name
        stored = tensor.data.view(PLAIN[kind]) if kind in PLAIN else gguf.dequantize(tensor.data, tensor.tensor_type)
        return stored.reshape(shape)


def is_gguf(path: pathlib.Path) -> bool:
    """Whether a path is to be read as GGUF: by its ending, or by how the file starts.

    Example:
        >>> is_gguf(pathlib.Path("qwen.gguf")), is_gguf(pathlib.Path("qwen.json"))
        (True, False)
    """
    if path.suffix.lower() == ENDING:
        return True
    if not path.is_file():  # a pipe, whose reading may never end
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def open_gguf(path: pathlib.Path) -> GGUFFile:
    """Reads a file's fields and the list of its tensors.

    Raises:
        ValueError: for a file that is not GGUF, is truncated or a part of several, holds no model, or tensors of a
            type that cannot be dequantized; if the package gguf is not installed.
    """
    check_whole(path)
    check_package(str(path))
    reader, fields = _read(path)
    _check_is_model(path, fields, reader)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    if unknown := sorted({tensor.tensor_type.name for tensor in tensors.values() if not _can_dequantize(tensor)}):
        raise ValueError(
            f"{path} holds tensors of type {', '.join(unknown)}, which the package gguf cannot dequantize: give the "
            "model in another type, such as Q8_0 or F16"
        )
    return GGUFFile(path, fields, tensors)


def check_package(what: str) -> None:
    """Raises a ValueError if the package gguf is not installed.

    Args:
        what: what it is needed for.
    """
    if importlib.util.find_spec("gguf") is None:
        raise ValueError(f"{what} is in GGUF format, which the package gguf reads: pip install 'ntl_jax[gguf]'")


def check_whole(path: pathlib.Path) -> None:
    """Raises a ValueError if a path is no file of this format, or a part of a model, which the first bytes show.

    Example:
        >>> check_whole(pathlib.Path(__file__))
        Traceback (most recent call last):
        ...
        ValueError: .../file.py is not a GGUF file, it starts with b'# SPDX-L': download it again
    """
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file: give a GGUF file")
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise ValueError(f"{path} is a pointer of git-lfs, not the file: fetch the file with git lfs pull")
    if not start.startswith(MAGIC):
        what = f"starts with {start[:8]!r}" if start else "is empty"
        raise ValueError(f"{path} is not a GGUF file, it {what}: download it again")
    if part := SPLIT.search(path.name):
        raise ValueError(_is_part(path, int(part[1]), int(part[2])))


def _is_part(path: pathlib.Path, number: int, count: int) -> str:
    return (
        f"{path} is part {number} of {count} of a model: join the parts with llama.cpp's llama-gguf-split --merge "
        "FIRST NEW and give NEW"
    )


def _read(path: pathlib.Path) -> "tuple[GGUFReader, dict[str, Any]]":
    """Opens the file with the library, whose errors do not name it, and reads its fields."""
    import gguf

    version = importlib.metadata.version("gguf")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # sizes of a damaged file that overflow
            reader = gguf.GGUFReader(path)
            fields = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, KeyError, IndexError, OverflowError, TypeError, MemoryError, RuntimeWarning) as error:
        if "GGMLQuantizationType" in str(error):
            raise ValueError(
                f"{path} holds a type of tensors that the package gguf {version} does not know ({error}): update it "
                "with pip install --upgrade gguf, or give the model in another type, such as Q8_0"
            ) from error
        raise ValueError(f"{path} is truncated or damaged: download it again ({error})") from error
    if reader.byte_order != "I":
        raise ValueError(f"{path} is written for machines of the other byte order: give the usual, little-endian one")
    return reader, fields


def _check_is_model(path: pathlib.Path, fields: Mapping[str, Any], reader: "GGUFReader") -> None:
    kind = fields.get("general.type", "model")
    if kind != "model":
        other = OTHER_KINDS.get(str(kind), f"a file of type {kind!r}: give the file of a model")
        raise ValueError(f"{path} is {other}")
    number, count = fields.get("split.no", 0), fields.get("split.count", 1)
    if isinstance(number, int) and isinstance(count, int) and count > 1:
        raise ValueError(_is_part(path, number + 1, count))
    if "general.architecture" not in fields:
        raise ValueError(f"{path} does not say what model it holds (no general.architecture): download it again")
    if not reader.tensors:
        raise ValueError(f"{path} is {OTHER_KINDS['vocab']}")


def _can_dequantize(tensor: "ReaderTensor") -> bool:
    """Whether the library implements it; tried on one block of zeros."""
    import gguf

    try:
        gguf.dequantize(np.zeros((1, gguf.GGML_QUANT_SIZES[tensor.tensor_type][1]), np.uint8), tensor.tensor_type)
    except NotImplementedError:
        return False
    return True

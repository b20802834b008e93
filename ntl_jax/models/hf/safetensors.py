# SPDX-License-Identifier: Apache-2.0
"""Reads and writes safetensors files tensor by tensor, so that no more than one tensor is ever copied.

The format (https://github.com/huggingface/safetensors): the header's size as 8 bytes, the header as JSON (name to
dtype, shape and byte range), the bytes. Reading maps the file into memory: a slice of a tensor costs
the pages it lies on.
"""

import json
import math
import pathlib
import struct
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np

DTYPES = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16), "BF16": np.dtype(jnp.bfloat16)}
ALIGNMENT = 8  # bytes; readers that map the file expect tensors to begin at a multiple of it


def read_tensors(path: pathlib.Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The tensors of a file as read-only views of it, and what is wrong with single ones.

    Raises:
        ValueError: for a file that is cut short or no safetensors file.
    """
    header, start = _read_header(path)
    data = np.memmap(path, np.uint8, mode="r", offset=start) if path.stat().st_size > start else np.empty(0, np.uint8)
    tensors, problems, end_of_data = {}, [], 0
    for name, entry in header:
        if name == "__metadata__":
            continue
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        end_of_data = max(end_of_data, end)
        if name in tensors:
            problems.append(f"{name}: twice in {path.name}")
        elif dtype not in DTYPES:
            problems.append(f"{name}: dtype {dtype} in {path.name}, supported: {', '.join(DTYPES)}")
        elif end - begin != math.prod(shape) * DTYPES[dtype].itemsize:
            problems.append(f"{name}: {end - begin} bytes in {path.name} for {dtype}{shape}")
        elif end <= len(data):
            tensors[name] = data[begin:end].view(DTYPES[dtype]).reshape(shape)
    if end_of_data > len(data):
        missing = end_of_data - len(data)
        raise ValueError(f"{path} is cut short: {missing:,} of its bytes are missing; copy or download it again")
    return tensors, problems


def write_tensors(path: pathlib.Path, layout: dict[str, tuple[str, tuple[int, ...]]], arrays: Iterable[Any]) -> None:
    """Writes a file.

    Args:
        path: of the file.
        layout: each tensor's dtype, "float32" or "bfloat16", and shape.
        arrays: in the same order, taken and written one by one.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    header: dict[str, dict[str, Any]] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in layout.items():
        begin, end = end, end + math.prod(shape) * np.dtype(dtype).itemsize
        header[name] = {"dtype": names[np.dtype(dtype)], "shape": shape, "data_offsets": (begin, end)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for (dtype, shape), array in zip(layout.values(), arrays, strict=True):
            array = np.ascontiguousarray(array)
            assert (array.dtype, array.shape) == (np.dtype(dtype), shape)
            file.write(array.view(np.uint8).reshape(-1).data)


def _read_header(path: pathlib.Path) -> tuple[list[tuple[str, Any]], int]:
    """Names and entries in the file's order, and where the tensors begin."""
    with path.open("rb") as file:
        first = file.read(8)
        size = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
        if not 2 <= size <= path.stat().st_size - 8:
            raise ValueError(f"{path} is cut short or no safetensors file: copy or download it again")
        text = file.read(size)
    try:
        header = json.loads(text, object_pairs_hook=lambda pairs: pairs)
        return [(name, dict(entry)) for name, entry in header], 8 + size
    except (UnicodeDecodeError, json.JSONDecodeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged, its header cannot be read: {error}") from error

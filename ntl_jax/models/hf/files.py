# SPDX-License-Identifier: Apache-2.0
"""The tensors of a checkpoint folder, in one or several files, checked against the decoder's layout."""

import pathlib
import re
from collections.abc import Iterable

import numpy as np

from ntl_jax.models.hf.json_object import read_object
from ntl_jax.models.hf.names import Tensor
from ntl_jax.models.hf.safetensors import StoredTensor, open_tensors, unreadable_tensors

SINGLE_FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
IGNORED = re.compile(r"\.rotary_emb\.inv_freq$")  # Llama-2 checkpoints store what their configuration implies
ROWS_AT_ONCE = 4096
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def stored_tensors(folder: pathlib.Path, layout: Iterable[Tensor], *, tied: bool) -> dict[str, StoredTensor]:
    """Every tensor of the layout, unread: slicing reads it (`open_tensors`).

    Raises:
        ValueError: naming all missing, unexpected, duplicate, wrong-shaped and unreadable tensors; for a folder without
            safetensors; for a damaged file.
    """
    found: dict[str, StoredTensor] = {}
    problems: list[str] = []
    for path in checkpoint_files(folder):
        tensors = open_tensors(path)
        problems += unreadable_tensors(tensors, path)
        problems += [f"{name}: twice, the second time in {path.name}" for name in tensors.keys() & found.keys()]
        found |= tensors
    if tied and HEAD in found and EMBEDDING in found:  # some tied checkpoints store the shared matrix twice
        if _are_equal(found[HEAD], found[EMBEDDING]):
            del found[HEAD]
        else:
            problems.append(f"{HEAD}: differs from {EMBEDDING}, but tie_word_embeddings is true in config.json")
    expected = {tensor.name: tensor.stored_shape for tensor in layout}
    problems += [f"{name}: missing" for name in expected if name not in found]
    problems += [f"{name}: unexpected" for name in found if name not in expected and not IGNORED.search(name)]
    problems += [
        f"{name}: shape {tuple(found[name].get_shape())}, config.json asks for {shape}"
        for name, shape in expected.items()
        if name in found and tuple(found[name].get_shape()) != shape
    ]
    if problems:
        raise ValueError(f"{folder}: {len(problems)} tensors that do not fit:\n  " + "\n  ".join(problems))
    return found


def _are_equal(first: StoredTensor, second: StoredTensor) -> bool:
    """Whether two stored matrices are equal, compared a few rows at a time."""
    if first.get_shape() != second.get_shape():
        return False
    num_rows = first.get_shape()[0]
    blocks = (slice(row, min(row + ROWS_AT_ONCE, num_rows)) for row in range(0, num_rows, ROWS_AT_ONCE))
    return all(np.array_equal(first[rows], second[rows]) for rows in blocks)


def checkpoint_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files that together hold the checkpoint.

    Raises:
        ValueError: for a folder that lacks them, or an index that cannot be used.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> (folder / SINGLE_FILE).touch()
        >>> [path.name for path in checkpoint_files(folder)]
        ['model.safetensors']
    """
    index = folder / INDEX
    if (folder / SINGLE_FILE).is_file():
        return [folder / SINGLE_FILE]
    if not index.is_file():
        pickled = sorted(path.name for path in folder.glob("*.bin"))
        why = f", only {pickled[0]} with PyTorch weights (pickle)" if pickled else ""
        raise ValueError(
            f"{folder} holds neither {SINGLE_FILE} nor {INDEX}{why}: give a folder that transformers' save_pretrained "
            "wrote"
        )
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"{index} has no weight_map from tensors to files: copy or download it again")
    names = sorted({str(name) for name in weight_map.values()})
    if outside := [name for name in names if not name or pathlib.PurePath(name).name != name]:
        raise ValueError(f"{index} names {outside[0]!r}, which is no file of this folder: copy or download it again")
    if absent := [name for name in names if not (folder / name).is_file()]:
        raise ValueError(f"{folder} lacks {', '.join(absent)}, which {INDEX} names: copy or download all shards")
    return [folder / name for name in names]

# SPDX-License-Identifier: Apache-2.0
"""The folder of a checkpoint that a path or a name on the hub stands for; anything else is named as what it is.

A GGUF file stands for the folder that it is converted to.
"""

import difflib
import pathlib
import shlex

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError

from ntl_jax.config import HUB_NAME, from_home
from ntl_jax.console import command
from ntl_jax.models.gguf.cache import folder_of_gguf
from ntl_jax.models.gguf.file import ENDING, is_gguf
from ntl_jax.models.hf.end_tokens import CONFIG
from ntl_jax.models.hf.files import INDEX, SINGLE_FILE
from ntl_jax.models.hf.json_object import read_object
from ntl_jax.models.published import PUBLISHED

WANTED = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")  # from the hub: no other weight formats
ALLOWED = f"give a folder with {CONFIG}, safetensors and tokenizer, a GGUF file, or a name on the hub"
PICKLED = "PyTorch weights (pickle): load them with transformers and save_pretrained"
FORMATS = {
    ".bin": PICKLED,
    ".pt": PICKLED,
    ".pth": PICKLED,
    ".ckpt": "a training checkpoint of another library: load it there and save_pretrained",
    ".h5": "TensorFlow weights: load them with transformers and save_pretrained",
    ".msgpack": "Flax weights of transformers: load them there and save_pretrained",
    ".onnx": "an ONNX program: give the folder of the model that it was made from",
    ".zip": "an archive: unpack it",
    ".gz": "an archive: unpack it",
    ".tar": "an archive: unpack it",
}
"""Endings of files that are no safetensors, and what they are."""


def hf_folder(path_or_hub_id: str | pathlib.Path) -> pathlib.Path:
    """The folder itself, that of a GGUF file, or that of the hub's snapshot, downloaded if it is not in the cache.

    Args:
        path_or_hub_id: a folder with config.json and safetensors (``~`` stands for the home folder), a GGUF file, or a
            hub name.

    Raises:
        ValueError: for a name that is neither a folder nor available on the hub, for a folder without a model, saying
            what it holds instead, and for a GGUF file that cannot be converted.

    Example:
        >>> import tempfile
        >>> hf_folder(tempfile.mkdtemp())
        Traceback (most recent call last):
        ...
        ValueError: ... is an empty folder: give a folder with config.json, safetensors and tokenizer, a GGUF file, or a name on the hub
    """  # noqa: E501
    name = str(path_or_hub_id)
    if not name.strip():
        raise ValueError(f"{name!r} is empty: {ALLOWED}")
    path = from_home(name)
    if path.is_dir():
        _check_is_model(path)
        return path.absolute()
    if path.exists() and is_gguf(path):
        return folder_of_gguf(path.absolute())
    if path.exists():
        raise ValueError(f"{path} {_of_file(path)}")
    if path.name in PUBLISHED:
        get = f"{command('get_model')} {path.name} {shlex.quote(name)}"
        raise ValueError(f"{name} is not a folder: it does not exist; {get} makes it")
    if not HUB_NAME.fullmatch(name) or path.suffix in {".safetensors", ".json", ENDING, *FORMATS}:
        raise ValueError(f"{name} is not a folder: it does not exist{_near(path)}; {ALLOWED}")
    try:
        return pathlib.Path(snapshot_download(name, allow_patterns=list(WANTED)))
    except (OSError, HFValidationError) as error:
        raise ValueError(
            f"{name!r} is not a folder{_near(path)}, and the Hugging Face hub did not provide it (offline, or "
            f"HF_HUB_OFFLINE set, and it is not in the cache; or there is no such model): give the path of a folder "
            f"with config.json and safetensors, or download it first with `hf download {name}`. "
            f"{' '.join(str(error).split())}"
        ) from error


def _check_is_model(folder: pathlib.Path) -> None:
    """Raises for a folder that holds no model, with what it holds."""
    if problem := _instead_of_model(folder):
        raise ValueError(f"{folder} {problem}")


def _instead_of_model(folder: pathlib.Path) -> str | None:
    names = {path.name for path in folder.iterdir()}
    if CONFIG in names:
        stored = read_object(folder / CONFIG)
        if "trainer" in stored and "model_type" not in stored:
            return (
                f"is a run folder of launch/train.py, not a model: export its policy with {command('export')} "
                f"{folder} DIR and give DIR"
            )
    if "adapter_config.json" in names:
        return (
            "holds an adapter (LoRA), not a model: merge it into its base model with peft's merge_and_unload, "
            "save_pretrained, and give that folder"
        )
    if CONFIG in names:
        return None
    if {"params.json", "consolidated.safetensors", "consolidated.00.pth"} & names:
        return f"holds a model in its maker's own format, without {CONFIG}: give the version for transformers"
    if "model_index.json" in names:
        return "holds a pipeline of diffusers, not a language model: give a language model"
    if weights := sorted(name for name in names if name.endswith(".safetensors")):
        return f"holds {weights[0]} but no {CONFIG}, which says what the model is: copy it from the same model"
    if files := sorted(name for name in names if pathlib.Path(name).suffix == ENDING):
        return f"holds {files[0]}: give that file, {folder / files[0]}"
    if others := sorted(name for name in names if pathlib.Path(name).suffix in FORMATS):
        return f"holds {others[0]}, no safetensors but {FORMATS[pathlib.Path(others[0]).suffix]}"
    if {"tokenizer.json", "tokenizer_config.json", "tokenizer.model"} & names:
        return f"holds a tokenizer, which is for data.tokenizer, and no model (no {CONFIG}): give a folder with both"
    if inside := sorted(path.parent for path in [*folder.glob(f"*/{CONFIG}"), *folder.glob(f"snapshots/*/{CONFIG}")]):
        return f"holds no {CONFIG}, but {inside[0]} does: give that folder"
    if {"_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt"} & names or folder.parent.parent.name == "checkpoints":
        return f"is a checkpoint inside a run folder: export it with {command('export')} RUN DIR and give DIR"
    return f"{f'holds no {CONFIG}' if names else 'is an empty folder'}: {ALLOWED}"


def _of_file(path: pathlib.Path) -> str:
    """What a file is, and what to give instead."""
    if path.name == CONFIG or path.name in (SINGLE_FILE, INDEX) or path.suffix == ".safetensors":
        return f"is a file: give the folder that it is in, {path.parent}"
    if path.suffix in FORMATS:
        return f"is no folder but {FORMATS[path.suffix]}"
    return f"is a file: {ALLOWED}"


def _near(path: pathlib.Path) -> str:
    """A folder of nearly this name, as a question."""
    if not path.parent.is_dir():
        return ""
    names = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.8)
    return f"; did you mean {path.parent / near[0]}?" if near else ""

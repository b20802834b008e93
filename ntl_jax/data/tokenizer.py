# SPDX-License-Identifier: Apache-2.0
"""Loads a tokenizer: the built-in one, or any that transformers knows."""

import contextlib
import importlib.util
import pathlib

from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ntl_jax.config import HUB_NAME, from_home, named

Tokenizer = PreTrainedTokenizerBase
"""Any tokenizer of transformers."""

BUILT_IN = pathlib.Path(__file__).with_name("tokenizer")
"""BPE over bytes with single digits and whole words of the generator's texts; tools/train_tokenizer.py wrote it."""

LOADING_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, StrictDataclassError)
"""What transformers raises for files that hold something else."""
REMEDIES = {
    "data.tokenizer": "give a folder with a tokenizer.json, a hub name, or None for the built-in tokenizer",
    "model.path": "copy or download its tokenizer.json and tokenizer_config.json again",
}


def load_tokenizer(path: str | None = None, *, given_as: str = "data.tokenizer") -> Tokenizer:
    """Loads a tokenizer from a folder or the hub. Code in a tokenizer's folder is never run.

    Args:
        path: folder (``~`` stands for the home folder) or hub name; None: the built-in tokenizer.
        given_as: the setting that errors name.

    Raises:
        ValueError: if there is no tokenizer, if it needs a package that is not installed (mistral-common for Mistral's
            ``tekken.json``), or if it has no end-of-sequence token, without which no response ends.

    Example:
        >>> tokenizer = load_tokenizer()
        >>> tokenizer.tokenize(" has 12+7=19")
        ['Ġhas', 'Ġ', '1', '2', '+', '7', '=', '1', '9']
    """
    with named(given_as, path):
        name = str(from_home(path)) if path is not None and path.startswith("~") else path or str(BUILT_IN)
    if what := _instead_of_folder(name):
        raise ValueError(f"{given_as}={path!r} {what}: {REMEDIES[given_as]}")
    try:
        with contextlib.ExitStack() as stack:
            stack.push(_as_value_error)
            tokenizer = _load(name)
    except ImportError as error:
        what = " ".join(str(error).split())
        raise ValueError(f"{given_as}={name!r} needs a package that is not installed: {what}") from error
    except LOADING_ERRORS as error:
        what = " ".join(str(error).split())
        if "trust_remote_code" in what:  # an option of transformers that is not offered
            what = "It comes with code of its own, which is not run"
        raise ValueError(
            f"{given_as}={name!r} holds no tokenizer that transformers can load: {REMEDIES[given_as]}. {what}"
        ) from error
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"{given_as}={name!r} has no end-of-sequence token, so that no response could end: "
            'add "eos_token" to its tokenizer_config.json'
        )
    return tokenizer


def _instead_of_folder(name: str) -> str | None:
    """What a path is that is no folder; None for a name that the hub may have."""
    path = pathlib.Path(name)
    if path.is_dir():
        return None
    if path.exists():
        return "is a file"
    return None if HUB_NAME.fullmatch(name) else "does not exist"


def _as_value_error(kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
    """At the end of a context: an error of the tokenizers library, which is a plain ``Exception``, is a ValueError."""
    if kind is Exception:
        raise ValueError(str(error)) from error


def _load(name: str) -> Tokenizer:
    folder = pathlib.Path(name)
    if folder == BUILT_IN:
        return PreTrainedTokenizerFast.from_pretrained(name)
    if not (folder / "tekken.json").is_file() or (folder / "tokenizer.json").is_file():
        from transformers import AutoTokenizer  # takes a while to import, and the built-in tokenizer does without

        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    # AutoTokenizer picks Mistral's own tokenizer only if a config.json says so, otherwise one without an end token.
    if importlib.util.find_spec("mistral_common") is None:
        raise ImportError("reading its tekken.json needs mistral-common: pip install mistral-common")
    from transformers.tokenization_mistral_common import MistralCommonBackend

    return MistralCommonBackend.from_pretrained(name)

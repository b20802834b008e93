# SPDX-License-Identifier: Apache-2.0
"""Loads a tokenizer: the built-in one, or any that transformers knows."""

import importlib.util
import pathlib

from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

Tokenizer = PreTrainedTokenizerBase
"""Any tokenizer of transformers."""

BUILT_IN = pathlib.Path(__file__).with_name("tokenizer")
"""BPE over bytes with single digits and whole words of the generator's texts; tools/train_tokenizer.py wrote it."""


def load_tokenizer(path: str | None = None) -> Tokenizer:
    """Loads a tokenizer from a folder or the hub.

    Args:
        path: folder or hub name; None: the built-in tokenizer.

    Raises:
        ValueError: if there is no tokenizer, if it needs a package that is not installed (mistral-common for Mistral's
            ``tekken.json``), or if it has no end-of-sequence token, without which no response ends.

    Example:
        >>> tokenizer = load_tokenizer()
        >>> tokenizer.tokenize(" has 12+7=19")
        ['Ġhas', 'Ġ', '1', '2', '+', '7', '=', '1', '9']
    """
    name = str(BUILT_IN) if path is None else str(path)
    try:
        tokenizer = _load(name)
    except ImportError as error:
        what = " ".join(str(error).split())
        raise ValueError(f"data.tokenizer={name!r} needs a package that is not installed: {what}") from error
    except (OSError, ValueError, KeyError, StrictDataclassError) as error:
        raise ValueError(
            f"data.tokenizer={name!r} holds no tokenizer that transformers can load: give a folder with a "
            f"tokenizer.json, a hub name, or None for the built-in tokenizer. {error}"
        ) from error
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"data.tokenizer={name!r} has no end-of-sequence token, so that no response could end: "
            'add "eos_token" to its tokenizer_config.json'
        )
    return tokenizer


def _load(name: str) -> Tokenizer:
    folder = pathlib.Path(name)
    if folder == BUILT_IN:
        return PreTrainedTokenizerFast.from_pretrained(name)
    if not (folder / "tekken.json").is_file() or (folder / "tokenizer.json").is_file():
        from transformers import AutoTokenizer  # takes a while to import, and the built-in tokenizer does without

        return AutoTokenizer.from_pretrained(name)
    # AutoTokenizer picks Mistral's own tokenizer only if a config.json says so, otherwise one without an end token.
    if importlib.util.find_spec("mistral_common") is None:
        raise ImportError("reading its tekken.json needs mistral-common: pip install mistral-common")
    from transformers.tokenization_mistral_common import MistralCommonBackend

    return MistralCommonBackend.from_pretrained(name)

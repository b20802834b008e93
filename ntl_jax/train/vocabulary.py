# SPDX-License-Identifier: Apache-2.0
"""What tokenizer and policy agree on: which ids there are, and which of them end a response."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from ntl_jax.rollout.stopping import special_stops


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The ids of a run.

    Args:
        stop_token_ids: end a response: the tokenizer's end of text, those of a checkpoint, and the special tokens among
            ``rollout.stop_strings``.
    """

    stop_token_ids: tuple[int, ...]


def agree(
    tokenizer: PreTrainedTokenizerBase, checkpoint: pathlib.Path | None, stop_strings: Sequence[str]
) -> Vocabulary:
    """Reads the ids off the tokenizer and the checkpoint.

    Args:
        tokenizer: of prompts and responses.
        checkpoint: folder of the policy; None: from scratch.
        stop_strings: of ``rollout.stop_strings``.

    Raises:
        ValueError: a stop string holds a special token beside other text.

    Example:
        >>> from ntl_jax.data import load_tokenizer
        >>> agree(load_tokenizer(), None, ["\\n\\n"]).stop_token_ids
        (1,)
    """
    ends = [*_end_token_ids(tokenizer, checkpoint), *special_stops(stop_strings, tokenizer).values()]
    return Vocabulary(stop_token_ids=tuple(dict.fromkeys(ends)))


def _end_token_ids(tokenizer: PreTrainedTokenizerBase, checkpoint: pathlib.Path | None) -> list[int]:
    """Ends of a response: an instruction-tuned checkpoint often names more than its tokenizer does."""
    assert isinstance(tokenizer.eos_token_id, int), "load_tokenizer asks for one"
    settings = None if checkpoint is None else checkpoint / "generation_config.json"
    named = json.loads(settings.read_text()).get("eos_token_id") if settings and settings.is_file() else None
    more = [] if named is None else named if isinstance(named, list) else [named]
    return [tokenizer.eos_token_id, *more]

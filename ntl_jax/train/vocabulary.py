# SPDX-License-Identifier: Apache-2.0
"""What tokenizer and policy agree on: which ids there are, and which of them end a response."""

import dataclasses
import pathlib
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from ntl_jax.models import end_token_ids
from ntl_jax.rollout.stopping import special_stops


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The ids of a run.

    Args:
        num_tokens: the tokenizer's largest id + 1: what the policy embeds beyond has no probability.
        num_holes: ids below it that no token has. They can be sampled and write nothing, so the header counts them.
        stop_token_ids: end a response: the tokenizer's end of text, those of a checkpoint, and the special tokens among
            ``rollout.stop_strings``.
    """

    num_tokens: int
    num_holes: int
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
        ValueError: a file of the checkpoint names end tokens that are no ids, or a stop string holds a special token
            beside other text.

    Example:
        >>> from ntl_jax.data import load_tokenizer
        >>> agree(load_tokenizer(), None, ["\\n\\n"])
        Vocabulary(num_tokens=492, num_holes=0, stop_token_ids=(1,))
    """
    ends = [*end_token_ids(checkpoint, tokenizer), *special_stops(stop_strings, tokenizer).values()]
    ids = set(tokenizer.get_vocab().values())
    num_tokens = max(len(tokenizer), max(ids) + 1)
    known = max(len(tokenizer), len(ids))  # of bytes that are no text, vocabularies of tekken.json list several as one
    return Vocabulary(num_tokens, num_tokens - known, tuple(dict.fromkeys(ends)))

# SPDX-License-Identifier: Apache-2.0
"""The ids shared by tokenizer and policy, and those that end a response."""

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
        num_tokens: the tokenizer's largest id + 1; larger ids of the policy have probability 0.
        num_holes: number of unused ids below ``num_tokens``. They can be sampled and decode to no text.
        stop_token_ids: ids that end a response: those of the tokenizer, the checkpoint and the template, and special
            tokens in ``rollout.stop_strings``.
    """

    num_tokens: int
    num_holes: int
    stop_token_ids: tuple[int, ...]


def agree(
    tokenizer: PreTrainedTokenizerBase,
    checkpoint: pathlib.Path | None,
    stop_strings: Sequence[str],
    end_of_turn: int | None = None,
) -> Vocabulary:
    """Reads the ids from the tokenizer and the checkpoint.

    Args:
        tokenizer: the tokenizer of prompts and responses.
        checkpoint: folder of the policy; None: from scratch.
        stop_strings: ``rollout.stop_strings``.
        end_of_turn: the token that ends the assistant's turn in the chat template, if there is one.

    Raises:
        ValueError: if a checkpoint file has end tokens that are not ids, or a stop string combines a special token with
            other text.

    Example:
        >>> from ntl_jax.data import load_tokenizer
        >>> agree(load_tokenizer(), None, ["\\n\\n"])
        Vocabulary(num_tokens=492, num_holes=0, stop_token_ids=(1,))
    """
    turn = [] if end_of_turn is None else [end_of_turn]
    ends = [*end_token_ids(checkpoint, tokenizer), *turn, *special_stops(stop_strings, tokenizer).values()]
    ids = set(tokenizer.get_vocab().values())
    num_tokens = max(len(tokenizer), max(ids) + 1)
    known = max(len(tokenizer), len(ids))  # tekken.json vocabularies list several non-text byte tokens as one
    return Vocabulary(num_tokens, num_tokens - known, tuple(dict.fromkeys(ends)))

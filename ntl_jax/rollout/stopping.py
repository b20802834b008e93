# SPDX-License-Identifier: Apache-2.0
"""Stop strings: special tokens become stop ids; other strings are searched for in the decoded text."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from ntl_jax.data import special_tokens
from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.numerals import TokenDecoder
from ntl_jax.records import Sampling


def with_stop_ids(sampling: Sampling, tokenizer: Tokenizer | None) -> Sampling:
    """The sampling settings with special tokens moved from stop strings to stop ids, since they decode to no text.

    Args:
        sampling: the settings.
        tokenizer: a transformers tokenizer; None is allowed only without stop strings.

    Raises:
        ValueError: if there are stop strings but no tokenizer, or as in `special_stops`.

    Example:
        >>> from ntl_jax.data import load_tokenizer
        >>> sampling = Sampling(num_samples=1, max_tokens=8, stop_strings=("<|endoftext|>", "####"))
        >>> sampling = with_stop_ids(sampling, load_tokenizer())
        >>> sampling.stop_token_ids, sampling.stop_strings
        ((1,), ('####',))
    """
    if not sampling.stop_strings:
        return sampling
    if tokenizer is None:
        raise ValueError(
            f"stop_strings={sampling.stop_strings} need decoded text: pass JaxEngine(tokenizer=...) or "
            "VllmEngine(tokenizer=...)"
        )
    special = special_stops(sampling.stop_strings, tokenizer)
    return dataclasses.replace(
        sampling,
        stop_token_ids=tuple(dict.fromkeys([*sampling.stop_token_ids, *special.values()])),
        stop_strings=tuple(stop for stop in sampling.stop_strings if stop not in special),
    )


def special_stops(stop_strings: Sequence[str], tokenizer: Tokenizer) -> dict[str, int]:
    """The stop strings that are special tokens, with their ids.

    Raises:
        ValueError: if a stop string combines a special token with other text, so it could never match.
    """
    special = special_tokens(tokenizer)
    for stop in stop_strings:
        if stop not in special and (inside := [token for token in special if token in stop]):
            raise ValueError(
                f"the stop string {stop!r} would never be found: the special token {inside[0]!r} decodes to no text; "
                f"pass {inside[0]!r} alone, or text without special tokens"
            )
    return {stop: special[stop] for stop in stop_strings if stop in special}


def length_to_stop(ids: Int[np.ndarray, "T"], stop_strings: Sequence[str], decode: TokenDecoder) -> int | None:
    """Number of tokens up to and including the one that completes the first stop string; None without a stop string.

    Example:
        >>> from tokenizers import Tokenizer, decoders, models
        >>> from transformers import PreTrainedTokenizerFast
        >>> backend = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "c": 2}, merges=[]))
        >>> backend.decoder = decoders.ByteLevel()
        >>> decode = TokenDecoder(PreTrainedTokenizerFast(tokenizer_object=backend))
        >>> length_to_stop(np.array([0, 1, 2, 0]), ["bc"], decode)
        3
    """
    text, starts = decode(ids)
    ends = [text.find(stop) + len(stop) for stop in stop_strings if stop in text]
    return int(np.searchsorted(starts, min(ends))) if ends else None

# SPDX-License-Identifier: Apache-2.0
"""Stop strings, looked for in the text that tokens write."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from ntl_jax.numerals import TokenDecoder


def length_to_stop(ids: Int[np.ndarray, "T"], stop_strings: Sequence[str], decode: TokenDecoder) -> int | None:
    """How many tokens there are up to and with the one that completes the first stop string; None: there is none.

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

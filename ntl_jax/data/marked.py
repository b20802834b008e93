# SPDX-License-Identifier: Apache-2.0
"""Token ids as a text in which special tokens, number tokens and their true values are marked, for people."""

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ntl_jax.data.special_tokens import special_tokens
from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.numerals import TokenDecoder, sampled_numbers

Mark = Literal["plain", "special", "number", "truth"]
"""What is written: text, a special token, a number token, a number token with its true value."""
FORMS: dict[Mark, str] = {"plain": "{}", "special": "[[{}]]", "number": "{{{}}}", "truth": "{{{}:{}}}"}
"""How each is written where there are no colors."""


class Piece(NamedTuple):
    """A token, or neighbors of them without a mark.

    Args:
        mark: what it is.
        text: what it writes; of a special token its name.
        truth: the number that should stand there; None: there is no truth.
    """

    mark: Mark
    text: str
    truth: int | None = None

    def __str__(self) -> str:
        return FORMS[self.mark].format(self.text, self.truth)


def mark_tokens(
    ids: Int[np.ndarray, "T"] | Sequence[int],
    tokenizer: Tokenizer,
    token_values: Float[np.ndarray, "V"],
    truth: Sequence[int] | None = None,
) -> list[Piece]:
    """The text of token ids, in pieces.

    Args:
        ids: of a prompt or a response.
        tokenizer: that made them.
        token_values: ``NumberTable.token_values``: each id's number, NaN for other tokens.
        truth: of each token the number that should stand there, -1 for none, as in ``DigitLabels.truth``.

    Example:
        >>> from ntl_jax.data import load_tokenizer
        >>> from ntl_jax.numerals import NumberTable
        >>> tokenizer = load_tokenizer()
        >>> values = np.asarray(NumberTable.from_tokenizer(tokenizer, kind="digits").token_values)
        >>> ids = tokenizer("so 72<|endoftext|>")["input_ids"]
        >>> "".join(map(str, mark_tokens(ids, tokenizer, values, [-1] * (len(ids) - 3) + [7, 1, -1])))
        'so {7:7}{2:1}[[<|endoftext|>]]'
    """
    ids = np.asarray(ids, np.int64)
    names = {i: token for token, i in special_tokens(tokenizer).items()}
    text, starts = TokenDecoder(tokenizer)(ids)
    ends = [*starts.tolist(), len(text)][1:]
    numbers = sampled_numbers(ids, token_values)
    pieces = []
    for t, (i, start, end) in enumerate(zip(ids.tolist(), starts.tolist(), ends, strict=True)):
        due = -1 if truth is None else int(truth[t])
        if i in names:
            pieces.append(Piece("special", names[i]))
        elif numbers[t] >= 0:
            pieces.append(Piece("truth", text[start:end], due) if due >= 0 else Piece("number", text[start:end]))
        else:
            pieces.append(Piece("plain", text[start:end]))
    return [piece for _, run in itertools.groupby(pieces, _place) for piece in _joined(list(run))]


def _place(piece: Piece) -> bool:
    return piece.mark == "plain"


def _joined(run: list[Piece]) -> list[Piece]:
    return [Piece("plain", "".join(piece.text for piece in run))] if run[0].mark == "plain" else run

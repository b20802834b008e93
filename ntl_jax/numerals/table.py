# SPDX-License-Identifier: Apache-2.0
"""Which tokens of a vocabulary are numbers, and what each is worth.

A number token is a run of ASCII digits, after one leading space marker is stripped (`Ġ` of byte-level BPE, `▁` of
SentencePiece, or a plain space). The vocabulary's own string is matched, never its decoding: byte-fallback pieces such
as `<0x37>` are no number tokens, and neither is anything that holds another character (`4.5`, `-3`, `1_000`, `²`, `٣`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ntl_jax.numerals.tokenizer import NamedTokens

Kind = Literal["digits", "numbers"]

_PATTERNS: dict[str, re.Pattern[str]] = {
    "digits": re.compile(r"[Ġ▁ ]?([0-9])"),
    "numbers": re.compile(r"[Ġ▁ ]?([0-9]+)"),
}
_DIGITS = range(10)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class NumberTable:
    """The number tokens of one vocabulary: a pytree whose arrays are leaves, so it passes through `jit` as an argument.

    Several ids may share a value (`7` and `Ġ7`): each is an entry of its own. With `kind="digits"` the entries are the
    tokens of one digit, and all ten values are present; with `kind="numbers"` they are the tokens of one digit or more,
    `007` being worth 7 where it is a single token. Values beyond float32's range (39 digits and more) are left out.

    Attributes:
        ids: [M] int32, the number tokens sorted by (value, id).
        values: [M] float32, ascending.
        token_values: [V] float32, the value of every token of the vocabulary; NaN where it is not a number token.
        num_digits: [M] int32, how many digits each number token writes (`007`: three).
        kind: "digits" or "numbers"; metadata, not a leaf.

    Example:
        >>> table = NumberTable.from_vocab({"the": 0, **{str(d): d + 1 for d in range(10)}, "Ġ7": 11}, kind="digits")
        >>> table.ids.tolist()
        [1, 2, 3, 4, 5, 6, 7, 8, 11, 9, 10]
        >>> table.values.tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 7.0, 8.0, 9.0]
    """

    ids: Int[Array, " M"]
    values: Float[Array, " M"]
    token_values: Float[Array, " V"]
    num_digits: Int[Array, " M"]
    kind: Kind = dataclasses.field(metadata={"static": True})

    @classmethod
    def from_vocab(cls, vocab: Mapping[str, int], kind: Kind = "digits", vocab_size: int | None = None) -> NumberTable:
        """Builds the table from a vocabulary's own strings.

        Args:
            vocab: token text to id, as the tokenizer stores it (`Ġ7`, `▁7`), not decoded.
            kind: "digits" (tokens of one digit) or "numbers" (tokens of any number of digits).
            vocab_size: size V of the model's logits, which may exceed the tokenizer's; by default the largest id + 1.

        Returns:
            The table, with `token_values` of length `vocab_size`.

        Raises:
            ValueError: unknown kind; no number token, or a digit without a token; an id outside `[0, vocab_size)`; one
                id with two values.

        Example:
            >>> table = NumberTable.from_vocab({"x": 0, "5": 1, "Ġ120": 2, "4.5": 3}, kind="numbers", vocab_size=6)
            >>> table.ids.tolist(), table.values.tolist(), table.token_values.shape
            ([1, 2], [5.0, 120.0], (6,))
        """
        if kind not in _PATTERNS:
            raise ValueError(f"kind={kind!r} is unknown: use one of {sorted(_PATTERNS)}")
        digits_of_id = _digits_by_id(vocab, _PATTERNS[kind])
        value_of_id = {token_id: float(digits) for token_id, digits in digits_of_id.items()}
        _check_present(value_of_id, kind, len(vocab))
        size = max(vocab.values()) + 1 if vocab_size is None else vocab_size
        outside = sorted(token_id for token_id in value_of_id if not 0 <= token_id < size)
        if outside:
            raise ValueError(
                f"number token ids {outside[:5]} lie outside [0, {size}): pass vocab_size=logits.shape[-1], "
                "the size of the model's vocabulary, which must cover every id of the tokenizer"
            )
        token_values = np.full(size, np.nan, np.float32)
        ids = np.array(sorted(value_of_id, key=lambda token_id: (value_of_id[token_id], token_id)), np.int32)
        token_values[ids] = [value_of_id[token_id] for token_id in ids.tolist()]
        num_digits = np.array([len(digits_of_id[token_id]) for token_id in ids.tolist()], np.int32)
        # Copied to the device: jnp.asarray would compile a program for each.
        ids, values, token_values, num_digits = jax.device_put((ids, token_values[ids], token_values, num_digits))
        return cls(ids, values, token_values, num_digits, kind)

    @classmethod
    def from_tokenizer(
        cls, tokenizer: NamedTokens, kind: Kind = "digits", vocab_size: int | None = None
    ) -> NumberTable:
        """Builds the table from a tokenizer, which it reads and never changes.

        Args:
            tokenizer: anything with `get_vocab() -> {text: id}`: every tokenizer of `transformers` and `tokenizers`.
            kind: "digits" or "numbers", as in `from_vocab`.
            vocab_size: size V of the model's logits; models often pad their vocabulary beyond `len(tokenizer)`.

        Returns:
            The table, as `from_vocab` builds it.

        Raises:
            ValueError: the object has no `get_vocab`, or as in `from_vocab`.

        Example:
            >>> from tokenizers import Tokenizer, models
            >>> tokenizer = Tokenizer(models.WordLevel({"?": 0, **{str(d): d + 1 for d in range(10)}}, unk_token="?"))
            >>> NumberTable.from_tokenizer(tokenizer, vocab_size=16).token_values.shape
            (16,)
        """
        try:
            get_vocab = tokenizer.get_vocab
        except AttributeError as error:
            raise ValueError(
                f"{type(tokenizer).__name__} has no get_vocab(): pass its pieces as {{text: id}} to "
                "NumberTable.from_vocab instead"
            ) from error
        return cls.from_vocab(get_vocab(), kind, vocab_size)

    def merge_by_value(self, number_log_probs: Float[Array, "... M"]) -> Float[Array, "... 10"]:
        """Log-probability of each of the ten digits: the log-sum-exp over all ids of one value, float32.

        Args:
            number_log_probs: [..., M] log-probs (or logits) of the table's ids, in the table's order.

        Returns:
            [..., 10], entry d for the digit d.

        Raises:
            ValueError: the table is not of kind "digits", or the last axis is not M long.

        Example:
            >>> table = NumberTable.from_vocab({str(d): d for d in range(10)} | {"Ġ7": 10})
            >>> print(jnp.exp(table.merge_by_value(jnp.full(11, jnp.log(0.05))))[7].round(3))
            0.1
        """
        if self.kind != "digits":
            raise ValueError(
                f'merge_by_value gives the ten digits: it needs kind="digits", this table has {self.kind!r}'
            )
        if number_log_probs.shape[-1] != self.ids.shape[0]:
            raise ValueError(f"the last axis of {number_log_probs.shape} must hold the table's {self.ids.shape[0]} ids")
        log_probs = number_log_probs.astype(jnp.float32)
        if self.ids.shape[0] == len(_DIGITS):
            return log_probs  # one id a value, and ids are sorted by value
        same_value = self.values[:, None] == jnp.arange(len(_DIGITS), dtype=jnp.float32)[None, :]
        expanded = jnp.where(
            jnp.broadcast_to(same_value, (*log_probs.shape, len(_DIGITS))), log_probs[..., None], -jnp.inf
        )
        peak = jax.lax.stop_gradient(jnp.max(expanded, axis=-2, keepdims=True))
        peak = jnp.where(jnp.isfinite(peak), peak, 0.0)
        total = jnp.sum(jnp.exp(expanded - peak), axis=-2)
        # A digit of probability 0 stays -inf with gradient 0: its logarithm is never differentiated.
        return jnp.where(total > 0, jnp.log(jnp.where(total > 0, total, 1.0)) + peak[..., 0, :], -jnp.inf)


def _digits_by_id(vocab: Mapping[str, int], pattern: re.Pattern[str]) -> dict[int, str]:
    """What every number token writes by its id; ValueError where two texts give one id two values."""
    digits_of_id: dict[int, str] = {}
    for text, token_id in vocab.items():
        match = pattern.fullmatch(text)
        if match is None or float(match[1]) > float(np.finfo(np.float32).max):
            continue
        other = float(digits_of_id.setdefault(token_id, match[1]))
        if other != float(match[1]):
            raise ValueError(f"id {token_id} stands for both {other:g} and {float(match[1]):g}: ids must be unique")
    return digits_of_id


def _check_present(value_of_id: dict[int, float], kind: Kind, num_texts: int) -> None:
    """ValueError unless the vocabulary has number tokens, and for digits all ten of them."""
    if not value_of_id:
        raise ValueError(
            f"none of the vocabulary's {num_texts} tokens is a number in ASCII digits (such as '7', 'Ġ7' or '▁7'): "
            "number token losses need a tokenizer that has them; pass stored pieces, not decoded or byte tokens"
        )
    missing = sorted(set(_DIGITS) - set(value_of_id.values()))
    if kind == "digits" and missing:
        raise ValueError(
            f'the vocabulary has no token for the digits {missing}: kind="digits" needs all ten; '
            'kind="numbers" takes whatever number tokens there are'
        )

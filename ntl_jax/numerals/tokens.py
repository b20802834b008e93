# SPDX-License-Identifier: Apache-2.0
"""From sampled token ids to text, remembering which token wrote which character; nothing is tokenized again.

Encoding a decoded text need not give the sampled ids back, so the offsets of a second tokenization can point at the
wrong tokens. Here every token is asked what it writes. For the two families that cover current models (byte-level
BPE; SentencePiece-style pieces with byte fallback) this is a table look-up, filled as ids appear; with any other
tokenizer every prefix is decoded, starting a few tokens before its end, in time linear in the length.
"""

import codecs
import itertools
import json
import re
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Float, Int

from ntl_jax.numerals.tokenizer import DecodingTokenizer

Piece = TypeVar("Piece", bytes, bytes | str)
"""What an entry of a vocabulary writes."""

MAX_TOKEN_DIGITS = 9
"""Number tokens of more digits get no truth: their values pass the range of int32."""

_WINDOW, _CONTEXT = 32, 8
"""The decoding window: the number of tokens after which it moves forward, and the earlier tokens that it keeps."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_SPACE_MARKER = "\N{LOWER ONE EIGHTH BLOCK}"
_BYTE_PIECE = re.compile("<0x([0-9A-Fa-f]{2})>")
_STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}

_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_SHIFTED = [byte for byte in range(256) if byte not in _PRINTABLE]
# GPT-2's alphabet: printable bytes stand for themselves, the others follow from U+0100 in their order.
_BYTE_OF = {chr(byte): byte for byte in _PRINTABLE} | {chr(256 + i): byte for i, byte in enumerate(_SHIFTED)}


class TokenDecoder:
    """Decodes sampled ids: ``text, starts = decoder(ids)``. Built once per tokenizer.

    ``text`` equals ``tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)``, and token t
    wrote ``text[starts[t] : starts[t + 1]]`` (the last one: to the end). A character whose bytes are spread over
    several tokens belongs to the one that completes it; special tokens and ids outside the vocabulary write nothing.

    Args:
        tokenizer: a transformers tokenizer; it is not changed.

    Example:
        >>> from tokenizers import Tokenizer, decoders, models
        >>> from transformers import PreTrainedTokenizerFast
        >>> backend = Tokenizer(models.BPE(vocab={"####": 0, "Ġ7": 1, "2": 2, "âĤ": 3, "¬": 4}, merges=[]))
        >>> backend.decoder = decoders.ByteLevel()
        >>> text, starts = TokenDecoder(PreTrainedTokenizerFast(tokenizer_object=backend))([0, 1, 2, 3, 4])
        >>> text, starts.tolist()
        ('#### 72€', [0, 4, 6, 7, 7])
    """

    def __init__(self, tokenizer: DecodingTokenizer) -> None:
        self._strip = False
        match _decoding_steps(tokenizer):
            case [{"type": "ByteLevel"}]:
                self._write = _table_writer(tokenizer, _byte_level_piece, _write_bytes)
            case [
                {"type": "Replace", "pattern": {"String": str(marker)}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                *rest,
            ] if marker == _SPACE_MARKER and rest in ([], [_STRIP]):
                self._write = _table_writer(tokenizer, _fallback_piece, _write_pieces)
                self._strip = bool(rest)
            case _:
                self._write = _prefix_writer(tokenizer)

    def __call__(self, ids: Int[np.ndarray, "T"] | Sequence[int]) -> tuple[str, Int[np.ndarray, "T"]]:
        written = self._write(np.asarray(ids, np.int64).tolist())
        text = "".join(written)
        starts = np.cumsum([0, *map(len, written)], dtype=np.int32)[: len(ids)]
        if self._strip and text.startswith(" "):
            return text[1:], np.maximum(starts - 1, 0)
        return text, starts


def sampled_numbers(ids: Int[np.ndarray, "T"], token_values: Float[np.ndarray, "V"]) -> Int[np.ndarray, "T"]:
    """The number that each token is, -1 where it is none: what `label_response` and the NTL record are built on.

    Args:
        ids: sampled ids.
        token_values: ``NumberTable.token_values``, on the host: each id's value, NaN for other tokens. Values of more
            than nine digits count as none.

    Example:
        >>> sampled_numbers(np.array([3, 0, 1]), np.array([7.0, np.nan, np.nan, 2.0])).tolist()
        [2, 7, -1]
    """
    values = token_values[ids]
    return np.where(values < 10.0**MAX_TOKEN_DIGITS, values, -1.0).astype(np.int32)


def _decoding_steps(tokenizer: DecodingTokenizer) -> list[dict[str, object]]:
    """What a tokenizers-backed tokenizer does to its pieces, as its ``tokenizer.json`` says; empty for any other."""
    # Mistral's own tokenizers lack this attribute; they are not backed by the tokenizers library.
    is_fast = getattr(tokenizer, "is_fast", False)
    backend = getattr(tokenizer, "backend_tokenizer", None) if is_fast else None
    if backend is None or backend.decoder is None:
        return []
    decoder = json.loads(backend.decoder.__getstate__())
    return decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]


class _Pieces(dict[int, Piece | None], Generic[Piece]):
    """What each id writes, read from the tokenizer when an id first appears; None for ids that write nothing."""

    def __init__(self, tokenizer: DecodingTokenizer, read: Callable[[str], Piece]) -> None:
        super().__init__({i: None for i, token in tokenizer.added_tokens_decoder.items() if token.special})
        self._tokenizer, self._read = tokenizer, read

    def __missing__(self, token_id: int) -> Piece | None:
        token = self._tokenizer.convert_ids_to_tokens(token_id)
        self[token_id] = self._read(token) if isinstance(token, str) else None
        return self[token_id]


def _table_writer(
    tokenizer: DecodingTokenizer, read: Callable[[str], Piece], write: Callable[[list[Piece | None]], list[str]]
) -> Callable[[list[int]], list[str]]:
    pieces = _Pieces(tokenizer, read)
    return lambda ids: write([pieces[i] for i in ids])


def _byte_level_piece(token: str) -> bytes:
    try:
        return bytes(_BYTE_OF[c] for c in token)
    except KeyError:  # an added token in plain text
        return token.encode()


def _write_bytes(pieces: list[bytes | None]) -> list[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    written = ["" if piece is None else decoder.decode(piece) for piece in pieces]
    return [*written, decoder.decode(b"", final=True)]


def _fallback_piece(token: str) -> bytes | str:
    if match := _BYTE_PIECE.fullmatch(token):
        return bytes([int(match[1], 16)])
    return token.replace(_SPACE_MARKER, " ")


def _write_pieces(pieces: list[bytes | str | None]) -> list[str]:
    """Runs of single bytes are decoded together; in a run that is not UTF-8, every byte becomes a replacement mark."""
    written = [piece if isinstance(piece, str) else "" for piece in pieces]
    present = [t for t, piece in enumerate(pieces) if piece is not None]
    for kind, tokens in itertools.groupby(present, key=lambda t: type(pieces[t])):
        if kind is bytes:
            run = list(tokens)
            for t, text in zip(
                run, _write_run([piece for t in run if isinstance(piece := pieces[t], bytes)]), strict=True
            ):
                written[t] = text
    return written


def _write_run(run: list[bytes]) -> list[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    try:
        return [decoder.decode(byte, final=i == len(run) - 1) for i, byte in enumerate(run)]
    except UnicodeDecodeError:
        return [_REPLACEMENT] * len(run)


def _prefix_writer(tokenizer: DecodingTokenizer) -> Callable[[list[int]], list[str]]:
    """Decodes every prefix; for a long prefix only a window at its end, chosen so that the text is the same.

    The window moves only after a complete character and if its first tokens decode to some text, because decoding may
    strip leading text. Ids outside the vocabulary, and special tokens after others, have no effect and are left out.
    """

    def decode(ids: list[int]) -> str:
        text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str), "one list of ids is one text"
        return text

    silent = {i for i in tokenizer.all_special_ids if not decode([i])}
    known = range(max(len(tokenizer), max(tokenizer.get_vocab().values()) + 1))

    def write(ids: list[int]) -> list[str]:
        previous = [None, *ids]
        kept = [i in known and not (i in silent and last in silent) for i, last in zip(ids, previous, strict=False)]
        written = iter(write_each([i for i, is_kept in zip(ids, kept, strict=True) if is_kept]))
        return [next(written) if is_kept else "" for is_kept in kept]

    def write_each(ids: list[int]) -> list[str]:
        text = decode(ids)
        first, offset = 0, 0  # first token of the window, and the offset of its text
        settled = []
        for t in range(1, len(ids)):
            part = decode(ids[first:t])
            settled.append(offset + _common_length(text[offset : offset + len(part)], part))
            is_whole = settled[-1] == offset + len(part) and not part.endswith(_REPLACEMENT)
            if t - first >= _WINDOW and is_whole:
                kept = decode(ids[t - _CONTEXT : t])
                if kept and text.endswith(kept, 0, settled[-1]):
                    first, offset = t - _CONTEXT, settled[-1] - len(kept)
        ends = np.maximum.accumulate([0, *settled, len(text)] if ids else [0])
        return [text[start:end] for start, end in itertools.pairwise(ends)]

    return write


def _common_length(text: str, prefix: str) -> int:
    """Length of the common prefix: an incomplete character decodes to a replacement mark, which is no part of it."""
    if text.startswith(prefix):
        return len(prefix)
    return next((i for i, (a, b) in enumerate(zip(text, prefix, strict=False)) if a != b), len(text))

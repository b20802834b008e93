# SPDX-License-Identifier: Apache-2.0
"""The tokenizer in a GGUF file, as one of transformers, which saves it.

transformers can read it too, but only where PyTorch is installed.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

from ntl_jax.models.gguf.file import GGUFFile
from ntl_jax.models.gguf.pre_tokenizers import NORMALIZED, STARTING, WHOLE_WORDS_FIRST, pre_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast  # takes seconds to import

UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 2, 3, 4, 5
"""Types of tokens that are no plain text."""
SPECIAL = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}
ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")
"""Fields with tokens that end a response."""
KINDS = {str: "texts", int: "whole numbers", float: "numbers (float32)"}
Element = TypeVar("Element", str, int, float)
SPACE = "▁"  # stands for a space in vocabularies of SentencePiece


def load_gguf_tokenizer(file: GGUFFile) -> "PreTrainedTokenizerFast":
    """The tokenizer of a file, with its special tokens and its chat template.

    Raises:
        ValueError: for a kind of tokenizer that is not supported, or fields that are missing or do not fit.
    """
    from transformers import PreTrainedTokenizerFast

    with _named(file):
        tokens = _tokens(file)
        match file.fields.get("tokenizer.ggml.model"):
            case "gpt2":
                tokenizer = _byte_level(file, tokens)
            case "llama":
                tokenizer = _sentence_piece(file, tokens)
            case kind:
                raise ValueError(f"tokenizer.ggml.model={kind!r} is not supported; supported: gpt2, llama")
        _add_marked(tokenizer, tokens, _types(file, len(tokens)))
        special = {name: tokens[i] for name, i in _special_ids(file, SPECIAL.values(), len(tokens)).items()}
        _start_and_end(file, tokenizer, special, tokens)
        template = file.fields.get("tokenizer.chat_template")
        if not isinstance(template, str | None):
            raise ValueError("tokenizer.chat_template must be a text")
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            chat_template=template,
            model_max_length=file.setting("context_length"),
            clean_up_tokenization_spaces=False,
            **{name: special[key] for name, key in SPECIAL.items() if key in special},
        )


def generation_settings(file: GGUFFile) -> dict[str, Any]:
    """The contents of a generation_config.json: begin, padding, and all tokens that end a response.

    Raises:
        ValueError: for an id that is not in the vocabulary.
    """
    with _named(file):
        ids = _special_ids(file, (*ENDS, "bos_token_id", "padding_token_id"), len(_tokens(file)))
    ends = list(dict.fromkeys(ids[name] for name in ENDS if name in ids))
    settings = {
        "bos_token_id": ids.get("bos_token_id"),
        "pad_token_id": ids.get("padding_token_id"),
        "eos_token_id": ends[0] if len(ends) == 1 else ends or None,
    }
    return {name: value for name, value in settings.items() if value is not None}


def _tokens(file: GGUFFile) -> list[str]:
    """The texts of all ids."""
    tokens = _list_of(file, "tokens", str)
    if not tokens:
        raise ValueError("the file has no tokenizer (tokenizer.ggml.tokens)")
    return tokens


def _list_of(file: GGUFFile, name: str, kind: type[Element], length: int | None = None) -> list[Element]:
    """A field of this kind of elements; empty if it is missing.

    Raises:
        ValueError: for another kind, or another length.
    """
    values = file.fields.get(f"tokenizer.ggml.{name}", [])
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        raise ValueError(f"tokenizer.ggml.{name} must be a list of {KINDS[kind]}")
    if values and length is not None and len(values) != length:
        raise ValueError(f"tokenizer.ggml.{name} has {len(values):,} elements for {length:,} tokens")
    return values


def _vocabulary(file: GGUFFile, tokens: Sequence[str]) -> dict[str, int]:
    """The ids that the model's own tokenizer has: not those that llama.cpp's converter names [PAD7] to fill up."""
    types = _types(file, len(tokens)) or [0] * len(tokens)
    return {
        token: i
        for i, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind != UNUSED or token != f"[PAD{i}]"
    }


def _types(file: GGUFFile, num_tokens: int) -> Sequence[int]:
    return _list_of(file, "token_type", int, num_tokens)


def _special_ids(file: GGUFFile, names: Iterable[str], num_tokens: int) -> dict[str, int]:
    """The special tokens that the file names."""
    fields = {name: file.fields.get(f"tokenizer.ggml.{name}") for name in names}
    ids = {name: value for name, value in fields.items() if value is not None}
    for name, value in ids.items():
        if not isinstance(value, int) or not 0 <= value < num_tokens:
            raise ValueError(f"tokenizer.ggml.{name}={value!r} is none of its {num_tokens:,} tokens")
    return ids


def _byte_level(file: GGUFFile, tokens: Sequence[str]) -> Tokenizer:
    """Byte-pair encoding over bytes, which are written as printable characters."""
    how = file.fields.get("tokenizer.ggml.pre")
    if how in (None, "default"):
        raise ValueError(
            f"tokenizer.ggml.pre={how!r} does not say how texts are cut into words, as in old files: convert the model "
            "again with a newer llama.cpp, or give a newer file of it"
        )
    cut = pre_tokenizer(how)
    parts = [merge.partition(" ") for merge in _list_of(file, "merges", str)]
    merges = [(left, right) for left, _, right in parts]
    if not merges or not all(right for _, right in merges):
        raise ValueError(
            "tokenizer.ggml.merges must hold pairs of tokens with a space between them, without which texts would be "
            "single bytes: convert the model again, or give another file of it"
        )
    vocabulary = _vocabulary(file, tokens)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=how in WHOLE_WORDS_FIRST))
    tokenizer.pre_tokenizer = cut
    tokenizer.decoder = decoders.ByteLevel()
    if how in NORMALIZED:
        tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def _sentence_piece(file: GGUFFile, tokens: Sequence[str]) -> Tokenizer:
    """Byte-pair encoding over characters, with bytes for those that the vocabulary lacks."""
    scores = _list_of(file, "scores", float, len(tokens))
    if not scores:
        raise ValueError("tokenizer.ggml.scores must hold a number for each token")
    vocabulary = _vocabulary(file, tokens)
    unknown = _special_ids(file, ["unknown_token_id"], len(tokens)).get("unknown_token_id", 0)
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=_merges(vocabulary, scores),
            unk_token=tokens[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    prefix = file.fields.get("tokenizer.ggml.add_space_prefix", True)
    before, strip = ([normalizers.Prepend(SPACE)], [decoders.Strip(" ", 1, 0)]) if prefix else ([], [])
    tokenizer.normalizer = normalizers.Sequence([*before, normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return tokenizer


def _merges(vocabulary: Mapping[str, int], scores: Sequence[float]) -> list[tuple[str, str]]:
    """The pairs that make each token, the token of the highest score first."""
    found = []
    for token, i in vocabulary.items():
        for cut in range(1, len(token)):
            left, right = vocabulary.get(token[:cut]), vocabulary.get(token[cut:])
            if left is not None and right is not None:
                found.append((-scores[i], left, right, (token[:cut], token[cut:])))
    return [pair for *_, pair in sorted(found)]


def _add_marked(tokenizer: Tokenizer, tokens: Sequence[str], types: Sequence[int]) -> None:
    """Marks tokens that are taken whole from a text."""
    for token, kind in zip(tokens, types, strict=bool(types)):
        if kind in (UNKNOWN, CONTROL):
            tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True)])
        elif kind == USER_DEFINED:
            tokenizer.add_tokens([AddedToken(token, normalized=False, special=False)])


def _start_and_end(file: GGUFFile, tokenizer: Tokenizer, special: Mapping[str, str], tokens: Sequence[str]) -> None:
    """Puts the special tokens around every text that the file asks for."""
    fields = file.fields
    starting = fields.get("tokenizer.ggml.model") == "llama" or fields.get("tokenizer.ggml.pre") in STARTING
    wanted = {"bos_token_id": fields.get("tokenizer.ggml.add_bos_token", starting)}
    wanted["eos_token_id"] = fields.get("tokenizer.ggml.add_eos_token", False)
    first, last = ([special[key]] if wanted[key] and key in special else [] for key in wanted)
    if first or last:
        pieces = [*first, "$A", *last]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=" ".join(pieces),
            special_tokens=[(token, tokens.index(token)) for token in dict.fromkeys([*first, *last])],
        )


@contextlib.contextmanager
def _named(file: GGUFFile) -> Iterator[None]:
    """Errors name the file; those of the tokenizers library, which are plain exceptions, are ValueErrors."""

    def as_value_error(kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is Exception or isinstance(error, ValueError | TypeError | IndexError):
            raise ValueError(f"{file.path} has a tokenizer that cannot be used: {error}") from error

    with contextlib.ExitStack() as stack:
        stack.push(as_value_error)
        yield

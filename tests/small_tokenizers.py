# SPDX-License-Identifier: Apache-2.0
"""Small tokenizers with the properties of large ones: made by the tokenizers library, in milliseconds, from no file.

Each kind is named after the way it writes numbers. Its pieces include parts of characters, so that decoding has to join
the bytes of several tokens.
"""

import functools
import itertools
from collections.abc import Iterable
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from ntl_jax.data import load_tokenizer

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
PAIRS = ["".join(pair) for pair in itertools.product("0123456789", repeat=2)]
TRIPLES = ["".join(triple) for triple in itertools.product("0123456789", repeat=3)]
WORDS = ("She", " pays", " dollars", " apples", " for", " é", " 中", "文", " 🍎", "####", "<<", ">>", "\n\n", "  ")
ADDED = ("<tool_call>", "</tool_call>")
# As in Qwen2.5 and cl100k_base, except for contractions.
SPLIT = r"[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

KINDS = ("built-in", "digits", "digits after ▁", "numbers", "numbers after a space")
"""`make_tokenizer` takes them. Qwen2.5, Mistral, Llama 3 and GPT-2 are the models that write numbers so, in order."""


@functools.cache
def make_tokenizer(kind: str) -> Any:
    """A tokenizer of the kind; tests share it and must not change it.

    - ``built-in``: the project's own; byte-level, a token a digit.
    - ``digits``: byte-level, a token a digit; three special tokens, and added tokens that decode to text; 7 unused ids.
    - ``digits after ▁``: SentencePiece's pieces with byte fallback; a token a digit; ``<s>`` before a text, and
      ``<unk>`` as padding.
    - ``numbers``: byte-level, a token for every number of up to three digits; padding equals the end of text.
    - ``numbers after a space``: byte-level, tokens of up to three digits, half of them with the space before them.
    """
    match kind:
        case "built-in":
            return load_tokenizer()
        case "digits":
            return _digits()
        case "digits after ▁":
            return _sentence_pieces()
        case "numbers":
            split = SPLIT.format(numbers=r"\p{N}{1,3}")
            backend = _byte_level([*WORDS, *PAIRS, *TRIPLES], split, special=["<|endoftext|>", "<|fim_prefix|>"])
            return _wrapped(backend, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
        case "numbers after a space":
            end = "<|endoftext|>"
            spaced = [f" {number}" for number in [*"0123456789", *PAIRS]]
            backend = _byte_level([*WORDS, *PAIRS, *TRIPLES[1::2], *spaced], split=None, special=[end])
            return _wrapped(backend, eos_token=end, pad_token=end, bos_token=end, unk_token=end)
    raise ValueError(f"{kind!r} is no kind: use one of {KINDS}")


def _digits() -> PreTrainedTokenizerFast:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    backend = _byte_level(WORDS, SPLIT.format(numbers=r"\p{N}"), special=special, added=ADDED, unused=7)
    backend.normalizer = normalizers.NFC()
    backend.add_tokens([AddedToken(token, normalized=False) for token in ADDED])
    return _wrapped(backend, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def _byte_level(
    texts: Iterable[str], split: str | None, *, special: list[str], added: tuple[str, ...] = (), unused: int = 0
) -> Tokenizer:
    """Byte-level BPE with a token for every text; ``unused`` ids lie between the bytes and the others."""
    vocab = {byte: i for i, byte in enumerate(BYTES)}
    merges: list[tuple[str, str]] = []
    reader = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text in texts:
        _merge(whole.pre_tokenize_str(text)[0][0], vocab, merges, first_id=len(BYTES) + unused)
    for token in [*special, *added]:  # ids that the library gives to further tokens may be taken
        vocab[token] = max(vocab.values()) + 1
    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    backend.add_special_tokens(special)
    backend.pre_tokenizer = (
        reader if split is None else pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), "isolated"), reader])
    )
    backend.decoder = decoders.ByteLevel()
    return backend


def _sentence_pieces() -> PreTrainedTokenizerFast:
    vocab = {piece: i for i, piece in enumerate(["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))])}
    merges: list[tuple[str, str]] = []
    characters = sorted(set("▁0123456789+-*/=<>#.,:$\n" + "".join(WORDS)) - set(" 🍎文"))
    vocab |= {character: len(vocab) + i for i, character in enumerate(characters)}
    for word in ("▁She", "▁pays", "▁dollars", "▁apples", "▁for", "####", "<<", ">>", "▁so", "▁▁"):
        for character in word:
            vocab.setdefault(character, len(vocab))
        _merge(word, vocab, merges, first_id=0)
    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens(["<unk>", "<s>", "</s>", "[INST]", "[/INST]"])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return _wrapped(backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>")


def _merge(piece: str, vocab: dict[str, int], merges: list[tuple[str, str]], *, first_id: int) -> None:
    """Adds the piece and its beginnings as tokens, each a merge of the one before with a character."""
    for end in range(2, len(piece) + 1):
        if piece[:end] not in vocab:
            vocab[piece[:end]] = max(first_id, max(vocab.values()) + 1)
            merges.append((piece[: end - 1], piece[end - 1]))


def _wrapped(backend: Tokenizer, **special: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False, **special)

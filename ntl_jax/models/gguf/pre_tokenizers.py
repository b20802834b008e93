# SPDX-License-Identifier: Apache-2.0
"""How byte-level tokenizers cut a text into words before merging: GGUF names the way, ``tokenizer.ggml.pre``.

The patterns are those of the models' own tokenizer.json.
"""

from tokenizers import Regex, pre_tokenizers

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA_3 = rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{REST}"
QWEN_2 = rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{REST}"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = {
    "llama-bpe": LLAMA_3,
    "llama3": LLAMA_3,
    "llama-v3": LLAMA_3,
    "qwen2": QWEN_2,
    "deepseek-r1-qwen": QWEN_2,
    "tekken": TEKKEN,
}
OF_GPT_2 = ("gpt-2", "smollm")
"""Split as GPT-2 does; "smollm" takes every digit alone."""
WHOLE_WORDS_FIRST = ("llama-bpe", "llama3", "llama-v3", "tekken")
"""A word that is a token is not put together from merges."""
NORMALIZED = ("qwen2", "deepseek-r1-qwen")
"""Texts are composed by Unicode's NFC first."""
STARTING = ("llama-bpe", "llama3", "llama-v3", "tekken")
"""A text starts with the begin-of-sequence token, unless the file says otherwise."""


def pre_tokenizer(name: str) -> pre_tokenizers.PreTokenizer:
    """The way of cutting that a file names.

    Raises:
        ValueError: for a name that is not known; another way would give other tokens without a word.

    Example:
        >>> cut = pre_tokenizer("qwen2").pre_tokenize_str("It's 12")
        >>> [word for word, _ in cut]
        ['It', "'s", 'Ġ', '1', '2']
    """
    if name in OF_GPT_2:
        words = pre_tokenizers.ByteLevel(add_prefix_space=False)
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, words]) if name == "smollm" else words
    if name not in PATTERNS:
        raise ValueError(
            f"tokenizer.ggml.pre={name!r} is not a known way of cutting texts into words; known: "
            f"{', '.join([*OF_GPT_2, *PATTERNS])}"
        )
    split = pre_tokenizers.Split(Regex(PATTERNS[name]), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])

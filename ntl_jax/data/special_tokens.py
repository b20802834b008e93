# SPDX-License-Identifier: Apache-2.0
"""Special tokens of a tokenizer: listing them, those it prepends to a text, and checking that data has none.

Only the text around a question may contain special tokens. Questions and solutions are plain text: the tokenizer would
encode a name such as ``<|im_end|>`` in them as the special token, so such a row is malformed.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from ntl_jax.data.problems import Problem, check_faults
from ntl_jax.data.tokenizer import Tokenizer

EXCERPT = 20
"""How many characters before and after a special token an error shows."""


def special_tokens(tokenizer: Tokenizer) -> dict[str, int]:
    """Text and id of every special token; added tokens that are plain text, such as Qwen3's ``<think>``, are left out.

    Example:
        >>> from ntl_jax.data import load_tokenizer
        >>> special_tokens(load_tokenizer())
        {'<|pad|>': 0, '<|endoftext|>': 1}
    """
    decoder = tokenizer.added_tokens_decoder
    if not isinstance(decoder, Mapping):  # in mistral_common it is a method; its tokens are all found below
        decoder = {}
    added = {token.content: i for i, token in decoder.items() if token.special}
    return added | dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))


def find_special_tokens(text: str, tokenizer: Tokenizer) -> list[str]:
    """The special tokens in a text, in order; if two start at the same character, the longer one.

    Example:
        >>> from ntl_jax.data import load_tokenizer
        >>> find_special_tokens("2+3?<|endoftext|>", load_tokenizer())
        ['<|endoftext|>']
    """
    return _pattern(special_tokens(tokenizer)).findall(text)


def start_tokens(tokenizer: Tokenizer) -> list[int]:
    """The ids that the tokenizer prepends by default: usually none, or the begin-of-sequence token.

    Example:
        >>> from ntl_jax.data import load_tokenizer
        >>> start_tokens(load_tokenizer())
        []
    """
    first, *_ = tokenizer("1", add_special_tokens=False)["input_ids"]
    ids = tokenizer("1")["input_ids"]
    return ids[: ids.index(first)]


def plain_problems(
    problems: Sequence[Problem], tokenizer: Tokenizer, *, on_bad_row: Literal["error", "skip"] = "error"
) -> tuple[list[Problem], int]:
    """The problems whose question and solution contain no special token of the tokenizer.

    Args:
        problems: from any source.
        tokenizer: that of the policy.
        on_bad_row: "error" raises for all other problems at once; "skip" leaves them out and counts them.

    Returns:
        The remaining problems, and how many were left out.

    Raises:
        ValueError: naming problem and token, or if no problem remains.

    Example:
        >>> from ntl_jax.tasks import generate_problems
        >>> from ntl_jax.data import load_tokenizer
        >>> problems = generate_problems(2, seed=0)
        >>> plain_problems(problems, load_tokenizer()) == (problems, 0)
        True
    """
    pattern = _pattern(special_tokens(tokenizer))
    plain, faults = [], []
    for problem in problems:
        texts = {"question": problem.text, "solution": problem.solution}
        if fault := _fault(texts.items(), pattern):
            faults.append((problem.place or f"problem {problem.index}", fault))
        else:
            plain.append(problem)
    check_faults(faults, len(plain), on_bad_row)
    return plain, len(faults)


def _pattern(tokens: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(filter(None, tokens), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _fault(texts: Iterable[tuple[str, str]], pattern: re.Pattern[str]) -> str | None:
    for name, text in texts:
        if match := pattern.search(text):
            excerpt = text[max(0, match.start() - EXCERPT) : match.end() + EXCERPT]
            return (
                f"its {name} has the special token {match[0]!r}, which only the section prompt may: ...{excerpt!r}..."
            )
    return None

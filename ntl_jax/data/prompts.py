# SPDX-License-Identifier: Apache-2.0
"""Problems as token ids: prompts for both stages, and reference solutions for the supervised one.

A prompt and its response are tokenized separately and joined as ids, exactly as when the policy samples. A prompt
contains the special tokens of its template and no others, except for the tokenizer's begin-of-sequence token, which is
prepended unless the template contains it. Nothing is appended, because sampling starts at the end.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Int

from ntl_jax.data.problems import Problem
from ntl_jax.data.special_tokens import find_special_tokens, plain_problems, special_tokens, start_tokens
from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.records import Prompt

QUESTION = "{question}"
"""Stands for the problem's text in a prompt template."""


def encode_prompts(
    problems: Sequence[Problem],
    tokenizer: Tokenizer,
    *,
    template: str,
    max_tokens: int,
    on_long: Literal["error", "skip"] = "error",
) -> tuple[list[Prompt], int]:
    """Tokenizes the questions in their template, and checks that the special tokens are those of the template.

    Args:
        problems: what to ask; ``extra_info["solution"]`` of each prompt holds the reference solution.
        tokenizer: of the policy.
        template: text of the prompt, with ``{question}`` in it. Special tokens in it are encoded as special tokens;
            the tokens that the tokenizer prepends (begin-of-sequence) are prepended unless the template has them.
        max_tokens: longest prompt that is used.
        on_long: longer prompts raise, or are left out and counted.

    Returns:
        The prompts in the order of the problems, and how many were left out.

    Raises:
        ValueError: for a template without ``{question}``, a question or solution with a special token, a template whose
            special tokens the tokenizer does not encode as special tokens, long prompts, or if none remains.

    Example:
        >>> from ntl_jax.tasks import generate_problems
        >>> from ntl_jax.data import load_tokenizer
        >>> problems = generate_problems(2, seed=0)
        >>> prompts, skipped = encode_prompts(problems, load_tokenizer(), template="{question}\\n", max_tokens=64)
        >>> len(prompts), skipped, prompts[0].text == problems[0].question + "\\n"
        (2, 0, True)
    """
    if QUESTION not in template:
        raise ValueError(f"data.template={template!r} must contain {QUESTION}, which stands for the problem's text")
    plain_problems(problems, tokenizer)
    texts = [template.replace(QUESTION, problem.question) for problem in problems]
    written = find_special_tokens(template, tokenizer)
    start = start_tokens(tokenizer)
    if set(tokenizer.convert_ids_to_tokens(start)) & set(written):
        start = []
    rows = [start + row for row in _encode(texts, tokenizer)]
    _check_special_tokens(rows, [*tokenizer.convert_ids_to_tokens(start), *written], tokenizer, template)
    kept = _rows_that_fit(rows, max_tokens, on_long, what="prompts", setting="data.max_prompt_tokens")
    prompts = [
        Prompt(
            index=problems[i].index,
            ids=np.asarray(rows[i], np.int32),
            text=texts[i],
            ground_truth=problems[i].ground_truth,
            data_source=problems[i].source,
            extra_info={"solution": problems[i].solution},
        )
        for i in kept
    ]
    return prompts, len(problems) - len(prompts)


def encode_solutions(
    prompts: Sequence[Prompt],
    tokenizer: Tokenizer,
    *,
    max_tokens: int,
    on_long: Literal["error", "skip"] = "error",
) -> tuple[list[tuple[Prompt, Int[np.ndarray, "T"]]], int]:
    """Tokenises the reference solutions on their own, each with the end-of-sequence token after it.

    Args:
        prompts: what ``encode_prompts`` returned.
        tokenizer: of the policy.
        max_tokens: longest solution that is used, with its end-of-sequence token.
        on_long: longer solutions raise, or are left out with their prompts and counted.

    Returns:
        Pairs of a prompt and the ids of its solution, and how many were left out.

    Raises:
        ValueError: for solutions with special tokens, long solutions, or if none remains.

    Example:
        >>> from ntl_jax.data import load_tokenizer
        >>> tokenizer = load_tokenizer()
        >>> prompt = Prompt(0, np.array([7]), "2+3?", "5", extra_info={"solution": "#### 5"})
        >>> pairs, skipped = encode_solutions([prompt], tokenizer, max_tokens=8)
        >>> tokenizer.decode(pairs[0][1])
        '#### 5<|endoftext|>'
    """
    texts = [prompt.extra_info["solution"] for prompt in prompts]
    if special := find_special_tokens("\n".join(texts), tokenizer):
        raise ValueError(
            f"solutions must contain no special tokens, given {', '.join(dict.fromkeys(special))}: the end token "
            "is appended to each; use plain_problems to list the problems, or to leave them out"
        )
    rows = [[*row, tokenizer.eos_token_id] for row in _encode(texts, tokenizer)]
    kept = _rows_that_fit(rows, max_tokens, on_long, what="solutions", setting="data.max_solution_tokens")
    return [(prompts[i], np.asarray(rows[i], np.int32)) for i in kept], len(prompts) - len(kept)


def _encode(texts: list[str], tokenizer: Tokenizer) -> list[list[int]]:
    """The ids of the texts, without the special tokens that the tokenizer adds by default."""
    return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []


def _check_special_tokens(rows: list[list[int]], expected: list[str], tokenizer: Tokenizer, template: str) -> None:
    """Checks that rows contain exactly these special tokens; the unknown-word token is ignored."""
    unknown = None if tokenizer.unk_token_id == tokenizer.eos_token_id else tokenizer.unk_token_id
    names = {i: token for token, i in special_tokens(tokenizer).items() if i != unknown}
    expected = [token for token in expected if token in names.values()]
    for row in rows:
        found = [names[i] for i in row if i in names]
        if found != expected:
            raise ValueError(
                f"data.template={template!r} asks for the special tokens {expected}, but the tokenizer reads {found}: "
                "use a tokenizer that reads them in text, such as one with a tokenizer.json, or leave them out"
            )


def _rows_that_fit(rows: list[list[int]], max_tokens: int, on_long: str, *, what: str, setting: str) -> list[int]:
    kept = [i for i, row in enumerate(rows) if len(row) <= max_tokens]
    num_long = len(rows) - len(kept)
    if num_long and (on_long != "skip" or not kept):
        raise ValueError(
            f"{num_long} of {len(rows)} {what} are longer than {setting}={max_tokens} tokens, the longest has "
            f"{max(map(len, rows))}: raise {setting}, or leave out the long ones with data.on_long_row=skip"
        )
    return kept

# SPDX-License-Identifier: Apache-2.0
"""Problems as token ids: prompts for both stages, and reference solutions for the supervised one.

A prompt and its response are tokenized separately and joined as ids, exactly as when the policy samples. A prompt
contains the special tokens of its template and no others. Where the template is a text, the tokenizer's
begin-of-sequence token is prepended unless the text contains it. Nothing is appended, because sampling starts at the
end.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Int

from ntl_jax.config import QUESTION
from ntl_jax.data.problems import Problem
from ntl_jax.data.special_tokens import find_special_tokens, plain_problems, special_tokens, start_tokens
from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.records import Prompt


def encode_prompts(
    problems: Sequence[Problem],
    tokenizer: Tokenizer,
    *,
    render: Callable[[Problem], str],
    max_tokens: int,
    on_long: Literal["error", "skip"] = "error",
    adds_start: bool = True,
) -> tuple[list[Prompt], int]:
    """Tokenizes the prompts, and checks that the special tokens are those of the frame around the question.

    Args:
        problems: what to ask; ``extra_info`` of each prompt is the problem's, with the reference solution as
            ``solution`` unless it has one of its own.
        tokenizer: of the policy.
        render: the prompt of a problem, a text with the question in it, such as a `PromptWriter` makes. Special tokens
            around the question are encoded as special tokens.
        max_tokens: longest prompt that is used.
        on_long: longer prompts raise, or are left out and counted.
        adds_start: whether the tokens that the tokenizer prepends (begin-of-sequence) are prepended, unless the text
            has them.

    Returns:
        The prompts in the order of the problems, and how many were left out.

    Raises:
        ValueError: for a prompt without the question, a question or solution with a special token, special tokens
            around the question that the tokenizer does not encode as such, long prompts, or if none remains.

    Example:
        >>> from ntl_jax.tasks import Arithmetic
        >>> from ntl_jax.data import load_tokenizer
        >>> task = Arithmetic(num_train=2, num_held_out=0, seed=0)
        >>> problems, _ = task.load("train")
        >>> prompts, skipped = encode_prompts(problems, load_tokenizer(), render=task.render, max_tokens=64)
        >>> len(prompts), skipped, prompts[0].text == problems[0].question
        (2, 0, True)
    """
    plain_problems(problems, tokenizer)
    texts = [render(problem) for problem in problems]
    frames = [render(_framed(problem)) for problem in problems]
    rows, start = _encode(texts, tokenizer), start_tokens(tokenizer) if adds_start else []
    for frame, indices in _places(frames).items():
        prepended, expected = _special_tokens_of(frame, start, tokenizer)
        for i in indices:
            rows[i] = prepended + rows[i]
        _check_special_tokens([rows[i] for i in indices], expected, tokenizer, frame)
    kept = _rows_that_fit(rows, max_tokens, on_long, what="prompts", setting="data.max_prompt_tokens")
    prompts = [
        Prompt(
            index=problems[i].index,
            ids=np.asarray(rows[i], np.int32),
            text=texts[i],
            ground_truth=problems[i].ground_truth,
            data_source=problems[i].data_source,
            extra_info={"solution": problems[i].solution, **problems[i].extra_info},
            solution=problems[i].solution,
            source_index=problems[i].source_index,
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
    end: int | None = None,
    reply: Callable[[str], str] = str,
) -> tuple[list[tuple[Prompt, Int[np.ndarray, "T"]]], int]:
    """Tokenizes the reference solutions on their own, each with the token after it that ends a response.

    Args:
        prompts: what ``encode_prompts`` returned.
        tokenizer: of the policy.
        max_tokens: longest solution that is used, with its end token.
        on_long: longer solutions raise, or are left out with their prompts and counted.
        end: the end token; None: the tokenizer's end-of-sequence token.
        reply: what follows a prompt with a solution, as `PromptWriter.reply` says; by default the solution.

    Returns:
        Pairs of a prompt and the ids of its solution, and how many were left out.

    Raises:
        ValueError: for solutions with special tokens, long solutions, or if none remains.

    Example:
        >>> from ntl_jax.data import load_tokenizer
        >>> tokenizer = load_tokenizer()
        >>> prompt = Prompt(0, np.array([7]), "2+3?", "5", solution="It is 5")
        >>> pairs, skipped = encode_solutions([prompt], tokenizer, max_tokens=8)
        >>> tokenizer.decode(pairs[0][1])
        'It is 5<|endoftext|>'
    """
    texts = [reply(prompt.solution) for prompt in prompts]
    if special := find_special_tokens("\n".join(texts), tokenizer):
        raise ValueError(
            f"solutions must contain no special tokens, given {', '.join(dict.fromkeys(special))}: the end token "
            "is appended to each; use plain_problems to list the problems, or to leave them out"
        )
    last = tokenizer.eos_token_id if end is None else end
    rows = [[*row, last] for row in _encode(texts, tokenizer)]
    kept = _rows_that_fit(rows, max_tokens, on_long, what="solutions", setting="data.max_solution_tokens")
    return [(prompts[i], np.asarray(rows[i], np.int32)) for i in kept], len(prompts) - len(kept)


def _framed(problem: Problem) -> Problem:
    """The problem with a mark in the place of what is asked last."""
    question = problem.question
    if not isinstance(question, str):
        return dataclasses.replace(problem, question=(*question[:-1], {**question[-1], "content": QUESTION}))
    return dataclasses.replace(problem, question=QUESTION)


def _encode(texts: list[str], tokenizer: Tokenizer) -> list[list[int]]:
    """The ids of the texts, without the special tokens that the tokenizer adds by default."""
    if not texts:
        return []
    return tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]


def _places(values: Sequence[str]) -> dict[str, list[int]]:
    """Where each value stands."""
    places: dict[str, list[int]] = {}
    for i, value in enumerate(values):
        places.setdefault(value, []).append(i)
    return places


def _special_tokens_of(frame: str, start: list[int], tokenizer: Tokenizer) -> tuple[list[int], list[str]]:
    """What is prepended to a prompt with this frame, and all of its special tokens."""
    if QUESTION not in frame:
        raise ValueError(f"a prompt must contain the problem's question unchanged; around it there is {frame!r}")
    written, names = find_special_tokens(frame, tokenizer), tokenizer.convert_ids_to_tokens(start)
    return ([], written) if set(names) & set(written) else (start, [*names, *written])


def _check_special_tokens(rows: list[list[int]], expected: list[str], tokenizer: Tokenizer, frame: str) -> None:
    """Checks that rows contain exactly these special tokens; the unknown-word token is ignored."""
    unknown = None if tokenizer.unk_token_id == tokenizer.eos_token_id else tokenizer.unk_token_id
    names = {i: token for token, i in special_tokens(tokenizer).items() if i != unknown}
    expected = [token for token in expected if token in names.values()]
    for row in rows:
        found = [names[i] for i in row if i in names]
        if found != expected:
            raise ValueError(
                f"the prompt {frame!r} of prompt.template asks for the special tokens {expected}, but the tokenizer "
                f"reads {found}: use a tokenizer that reads them in text, such as one with a tokenizer.json, or leave "
                "them out"
            )


def _rows_that_fit(rows: list[list[int]], max_tokens: int, on_long: str, *, what: str, setting: str) -> list[int]:
    kept = [i for i, row in enumerate(rows) if len(row) <= max_tokens]
    num_long = len(rows) - len(kept)
    if num_long and (on_long != "skip" or not kept):
        raise ValueError(
            f"{num_long} of {len(rows)} {what} are longer than {setting}={max_tokens} tokens, the longest has "
            f"{max(map(len, rows))}: raise {setting}"
            + (", or leave out the long ones with data.on_long_row=skip" if kept else "")
        )
    return kept

# SPDX-License-Identifier: Apache-2.0
"""Problems become prompts and solutions: complete, in order, and joined as ids."""

import dataclasses

import numpy as np
import pytest

from ntl_jax.config import PromptSection
from ntl_jax.data.problems import Problem
from ntl_jax.data.prompts import encode_prompts, encode_solutions
from ntl_jax.data.template import TextTemplate
from ntl_jax.data.tokenizer import load_tokenizer
from ntl_jax.data.writer import PromptWriter
from ntl_jax.tasks.arithmetic.generator import generate_problems

SHORT = Problem(4, "2+3?", "2+3=<<2+3=5>>5.\n#### 5", "5", "gsm8k")
LONG = Problem(9, "one two three four five six?", "Count" + " on" * 30 + ".\n#### 7", "7", "mine")


def template(text: str):
    return PromptWriter(PromptSection(), TextTemplate(text), lambda problem: problem.question)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


def test_a_prompt_carries_everything_of_its_problem(tokenizer):
    (prompt,), skipped = encode_prompts([SHORT], tokenizer, render=template("Q: {question}\nA:"), max_tokens=50)
    assert skipped == 0
    assert prompt.index == 4
    assert prompt.text == "Q: 2+3?\nA:" == tokenizer.decode(prompt.ids)
    assert (prompt.ground_truth, prompt.data_source) == ("5", "gsm8k")
    assert prompt.extra_info["solution"] == SHORT.solution
    assert prompt.ids.dtype == np.int32


def test_what_else_a_row_holds_travels_to_rewards_beside_the_solution(tokenizer):
    problem = dataclasses.replace(SHORT, extra_info={"split": "test"}, source_index=2)
    (prompt,), _ = encode_prompts([problem], tokenizer, render=template("{question}"), max_tokens=50)
    assert (prompt.extra_info, prompt.source_index) == ({"split": "test", "solution": SHORT.solution}, 2)
    problem = dataclasses.replace(SHORT, extra_info={"solution": "the row's own"})
    prompts, _ = encode_prompts([problem], tokenizer, render=template("{question}"), max_tokens=50)
    assert prompts[0].extra_info == problem.extra_info and prompts[0].solution == SHORT.solution
    ((_, ids),), _ = encode_solutions(prompts, tokenizer, max_tokens=50)
    assert tokenizer.decode(ids[:-1]) == SHORT.solution


def test_special_tokens_are_found_in_every_turn_of_a_chat(tokenizer):
    turns = {"role": "system", "content": "<|endoftext|>"}, {"role": "user", "content": "2+3?"}
    with pytest.raises(ValueError, match="endoftext"):
        encode_prompts([dataclasses.replace(SHORT, question=turns)], tokenizer, render=str, max_tokens=50)


def test_braces_in_a_question_or_a_template_are_only_text(tokenizer):
    problem = Problem(0, "What is {x} in {question}?", "#### 1", "1", "mine")
    (prompt,), _ = encode_prompts([problem], tokenizer, render=template("{a} {question}"), max_tokens=50)
    assert prompt.text == "{a} What is {x} in {question}?"


def test_a_solution_is_tokenised_on_its_own_and_ends_in_eos(tokenizer):
    prompts, _ = encode_prompts([SHORT], tokenizer, render=template("{question}\n"), max_tokens=50)
    ((prompt, ids),), skipped = encode_solutions(prompts, tokenizer, max_tokens=50)
    assert skipped == 0
    assert prompt is prompts[0]
    assert ids.tolist() == [*tokenizer(SHORT.solution)["input_ids"], tokenizer.eos_token_id]
    assert ids.dtype == np.int32


def test_long_prompts_are_an_error_that_says_how_many_how_long_and_what_to_raise(tokenizer):
    longest = len(tokenizer(LONG.text)["input_ids"])
    with pytest.raises(ValueError, match=rf"2 of 3 prompts .*data\.max_prompt_tokens=5 .* has {longest}: raise"):
        encode_prompts([SHORT, LONG, LONG], tokenizer, render=template("{question}"), max_tokens=5)


def test_long_prompts_can_be_skipped_and_are_counted(tokenizer):
    prompts, skipped = encode_prompts(
        [LONG, SHORT, LONG], tokenizer, render=template("{question}"), max_tokens=5, on_long="skip"
    )
    assert ([prompt.index for prompt in prompts], skipped) == ([4], 2)


def test_a_text_of_exactly_the_limit_is_kept_and_eos_counts(tokenizer):
    prompts, _ = encode_prompts([SHORT], tokenizer, render=template("{question}"), max_tokens=4)
    limit = len(tokenizer(SHORT.solution)["input_ids"]) + 1
    assert encode_solutions(prompts, tokenizer, max_tokens=limit)[1] == 0
    with pytest.raises(ValueError, match=r"1 of 1 solutions .*data\.max_solution_tokens"):
        encode_solutions(prompts, tokenizer, max_tokens=limit - 1)


def test_long_solutions_are_skipped_together_with_their_prompts(tokenizer):
    prompts, _ = encode_prompts([LONG, SHORT], tokenizer, render=template("{question}"), max_tokens=50)
    pairs, skipped = encode_solutions(prompts, tokenizer, max_tokens=30, on_long="skip")
    assert ([prompt.index for prompt, _ in pairs], skipped) == ([4], 1)


def test_skipping_everything_is_an_error(tokenizer):
    with pytest.raises(ValueError, match="2 of 2 prompts"):
        encode_prompts([SHORT, LONG], tokenizer, render=template("{question}"), max_tokens=1, on_long="skip")


def test_a_prompt_without_the_question_is_an_error(tokenizer):
    with pytest.raises(ValueError, match=r"must contain the problem's question unchanged"):
        encode_prompts([SHORT], tokenizer, render=template("Solve it."), max_tokens=50)


def test_no_problems_give_no_prompts(tokenizer):
    assert encode_prompts([], tokenizer, render=template("{question}"), max_tokens=5) == ([], 0)
    assert encode_solutions([], tokenizer, max_tokens=5) == ([], 0)


def test_many_problems_are_encoded_as_one_at_a_time(tokenizer):
    problems = generate_problems(20, seed=0)
    together, _ = encode_prompts(problems, tokenizer, render=template("{question}\n"), max_tokens=99)
    for problem, prompt in zip(problems, together, strict=True):
        (alone,), _ = encode_prompts([problem], tokenizer, render=template("{question}\n"), max_tokens=99)
        assert prompt.ids.tolist() == alone.ids.tolist()


def test_prompts_may_differ_in_the_text_around_their_questions(tokenizer):
    def render(problem):
        return f"{problem.index}. {problem.question}"

    prompts, _ = encode_prompts([SHORT, LONG], tokenizer, render=render, max_tokens=50)
    assert [prompt.text for prompt in prompts] == [f"4. {SHORT.question}", f"9. {LONG.question}"]
    assert [tokenizer.decode(prompt.ids) for prompt in prompts] == [prompt.text for prompt in prompts]

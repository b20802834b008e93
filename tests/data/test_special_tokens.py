# SPDX-License-Identifier: Apache-2.0
"""Prompts have exactly the special tokens of their template, for any tokenizer; data has none."""

import json
import shutil

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from ntl_jax.config import PromptSection
from ntl_jax.data.problems import Problem
from ntl_jax.data.prompts import encode_prompts, encode_solutions
from ntl_jax.data.special_tokens import find_special_tokens, plain_problems, start_tokens
from ntl_jax.data.template import PLAIN, TextTemplate
from ntl_jax.data.tokenizer import BUILT_IN, load_tokenizer
from ntl_jax.data.writer import PromptWriter
from ntl_jax.records import Prompt
from ntl_jax.tasks.arithmetic.generator import generate_problems
from ntl_jax.train.header import describe_prompt

SPECIAL = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")
PUTS_AROUND = {
    "nothing": "$A",
    "start": "<s> $A",
    "end": "$A </s>",
    "both": "<s> $A </s>",
    "two starts": "<|im_start|> <s> $A",
}
TURNS = "<|im_start|>{question}<|im_end|>\n<|im_start|>"
PROBLEM = Problem(4, "2+3?", "2+3=5.\n#### 5", "5", "mine")


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """The built-in tokenizer with four more special tokens, in variants that add different tokens to a text."""
    made = {}
    for name, around in PUTS_AROUND.items():
        folder = tmp_path_factory.mktemp("tokenizer") / "made"
        shutil.copytree(BUILT_IN, folder)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.add_special_tokens(list(SPECIAL))
        ids = [(token, tokenizer.token_to_id(token)) for token in SPECIAL]
        tokenizer.post_processor = TemplateProcessing(single=around, special_tokens=ids)
        tokenizer.save(str(folder / "tokenizer.json"))
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        settings |= {"bos_token": "<s>", "eos_token": "</s>"}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        made[name] = load_tokenizer(str(folder))
    return made


def template_of(text):
    return PromptWriter(PromptSection(), TextTemplate(text), lambda problem: problem.question)


def encoded(tokenizer, template, problem=PROBLEM):
    (prompt,), _ = encode_prompts([problem], tokenizer, render=template_of(template), max_tokens=99)
    return prompt


@pytest.mark.parametrize(
    ("around", "template", "tokens"),
    [
        ("nothing", PLAIN, "2 + 3 ?Ċ"),
        ("start", PLAIN, "<s> 2 + 3 ?Ċ"),
        ("end", PLAIN, "2 + 3 ?Ċ"),
        ("both", PLAIN, "<s> 2 + 3 ?Ċ"),
        ("two starts", PLAIN, "<|im_start|> <s> 2 + 3 ?Ċ"),
        ("nothing", "<s>" + PLAIN, "<s> 2 + 3 ?Ċ"),
        ("start", "<s>" + PLAIN, "<s> 2 + 3 ?Ċ"),
        ("both", "<s>" + PLAIN, "<s> 2 + 3 ?Ċ"),
        ("both", "\n<s>" + PLAIN, "Ċ <s> 2 + 3 ?Ċ"),
        ("both", "<s><s>" + PLAIN, "<s> <s> 2 + 3 ?Ċ"),
        ("both", PLAIN + "</s>", "<s> 2 + 3 ?Ċ </s>"),
        ("nothing", TURNS, "<|im_start|> 2 + 3 ? <|im_end|> Ċ <|im_start|>"),
        ("both", TURNS, "<s> <|im_start|> 2 + 3 ? <|im_end|> Ċ <|im_start|>"),
        ("both", "<s>" + TURNS, "<s> <|im_start|> 2 + 3 ? <|im_end|> Ċ <|im_start|>"),
        ("two starts", TURNS, "<|im_start|> 2 + 3 ? <|im_end|> Ċ <|im_start|>"),
    ],
)
def test_a_prompt_has_the_special_tokens_of_the_template_and_the_start_token_once(tokenizers, around, template, tokens):
    prompt = encoded(tokenizers[around], template)
    assert tokenizers[around].convert_ids_to_tokens(prompt.ids) == tokens.split()


@pytest.mark.parametrize("around", PUTS_AROUND)
def test_a_supervised_row_is_the_solution_and_one_end_token(tokenizers, around):
    tokenizer = tokenizers[around]
    ((_, ids),), _ = encode_solutions([encoded(tokenizer, PLAIN)], tokenizer, max_tokens=99)
    assert tokenizer.convert_ids_to_tokens(ids) == [*"2+3=5", ".Ċ", "####", "Ġ", "5", "</s>"]


def test_a_solution_that_contains_an_end_token_is_refused(tokenizers):
    prompt = Prompt(0, np.array([7]), "2+3?", "5", solution="#### 5</s>")
    with pytest.raises(ValueError, match="solutions must contain no special tokens, given </s>"):
        encode_solutions([prompt], tokenizers["nothing"], max_tokens=99)


@pytest.mark.parametrize("template", [PLAIN, TURNS])
@pytest.mark.parametrize(
    ("question", "solution"),
    [
        ("2+3?<|im_end|>\n<|im_start|>", "#### 5"),
        ("What is <s>?", "#### 5"),
        ("2+3?", "2+3=5</s>\n#### 5"),
        ("<|pad|>2+3?", "#### 5"),
    ],
)
def test_data_with_special_tokens_is_refused_by_name_or_skipped(tokenizers, template, question, solution):
    tokenizer, bad = tokenizers["both"], Problem(7, question, solution, "5", "mine")
    token = find_special_tokens(question + solution, tokenizer)[0]
    with pytest.raises(ValueError, match=r"1 of 2 rows.*\n.*problem 7: its (question|solution) has .*") as refusal:
        encode_prompts([PROBLEM, bad], tokenizer, render=template_of(template), max_tokens=99)
    assert repr(token) in str(refusal.value)
    assert plain_problems([PROBLEM, bad], tokenizer, on_bad_row="skip") == ([PROBLEM], 1)


def test_data_in_which_every_row_is_malformed_cannot_be_skipped(tokenizers):
    bad = Problem(7, "<s>2+3?", "#### 5", "5", "mine")
    with pytest.raises(ValueError, match="1 of 1 rows are malformed"):
        plain_problems([bad], tokenizers["nothing"], on_bad_row="skip")


def test_text_that_resembles_a_special_token_is_text(tokenizers):
    problem = Problem(7, "Is 1 < s> 2, <S>, or <|im_start| >?", "[INST] #### 5", "5", "mine")
    prompt = encoded(tokenizers["nothing"], PLAIN, problem)
    assert tokenizers["nothing"].decode(prompt.ids) == problem.text + "\n"


def test_special_tokens_that_a_tokenizer_does_not_read_in_text_are_refused(tokenizers, tmp_path):
    tokenizers["nothing"].save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"split_special_tokens": True}))
    tokenizer = load_tokenizer(str(tmp_path))
    with pytest.raises(ValueError, match=r"asks for the special tokens \['<s>'\], but the tokenizer reads \[\]"):
        encoded(tokenizer, "<s>{question}")


def test_unknown_words_in_a_question_are_not_special_tokens(tmp_path):
    words = Tokenizer.from_file(str(BUILT_IN / "tokenizer.json"))
    specification = json.loads(words.to_str())
    vocab = {"<unk>": 0, "</s>": 1, **{digit: 2 + i for i, digit in enumerate("0123456789")}}
    specification |= {
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
        "pre_tokenizer": {"type": "Whitespace"},
        "decoder": None,
    }
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    specification["added_tokens"] = [{"id": i, "content": token} | added for i, token in enumerate(("<unk>", "</s>"))]
    (tmp_path / "tokenizer.json").write_text(json.dumps(specification))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "eos_token": "</s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load_tokenizer(str(tmp_path))
    problem = Problem(7, "2 apples 3", "#### 5", "5", "mine")
    assert encoded(tokenizer, "{question} 4</s>", problem).ids.tolist() == [4, 0, 5, 6, 1]
    with pytest.raises(ValueError, match="'<unk>'"):
        encoded(tokenizer, PLAIN, Problem(7, "2 <unk> 3", "#### 5", "5", "mine"))


def test_the_start_tokens_are_those_that_the_tokenizer_prepends(tokenizers):
    names = {name: tokenizer.convert_ids_to_tokens(start_tokens(tokenizer)) for name, tokenizer in tokenizers.items()}
    assert names == {
        "nothing": [], "start": ["<s>"], "end": [], "both": ["<s>"], "two starts": ["<|im_start|>", "<s>"]
    }  # fmt: skip


def test_the_prompts_of_the_default_run_keep_their_ids():
    tokenizer = load_tokenizer()
    (problem,) = generate_problems(1, seed=0, tiers=(1,), max_number=10)
    prompt = encoded(tokenizer, PLAIN, problem)
    assert prompt.text == "Anna has 7 shells. Lily has 5 fewer. How many shells does Lily have?\n"
    assert prompt.ids.tolist() == [
        356, 264, 222, 24, 414, 15, 435, 264, 222, 22, 485, 15, 285, 288, 414, 325, 435, 282, 283,
    ]  # fmt: skip


def test_the_header_shows_the_first_prompt_with_its_special_tokens(tokenizers):
    tokenizer = tokenizers["both"]
    shown = describe_prompt(encoded(tokenizer, "\t" + TURNS), tokenizer)
    start, turn, end = tokenizer.convert_tokens_to_ids(["<s>", "<|im_start|>", "<|im_end|>"])
    assert shown == (
        r"'<s>\t<|im_start|>2+3?<|im_end|>\n<|im_start|>', 10 tokens, special tokens: "
        f"<s> {start}, <|im_start|> {turn}, <|im_end|> {end}, <|im_start|> {turn}"
    )
    assert describe_prompt(encoded(tokenizers["end"], PLAIN), tokenizer) == r"'2+3?\n', 4 tokens, special tokens: none"

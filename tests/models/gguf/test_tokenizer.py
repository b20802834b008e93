# SPDX-License-Identifier: Apache-2.0
"""A tokenizer written into a GGUF file gives the ids that it gave before."""

import itertools
import json
import pathlib
from typing import Any

import pytest

from ntl_jax.models.gguf.file import open_gguf
from ntl_jax.models.gguf.settings import model_config
from ntl_jax.models.gguf.tokenizer import generation_settings, load_gguf_tokenizer
from tests.gguf_files import CHARACTERS_ALONE, write_gguf
from tests.small_tokenizers import make_tokenizer

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "llama2-untied"
TEXTS = (
    "She pays 12 dollars for 345 apples.",
    "  12  +  7\n\n= 19 é 🍎文 #### <<12+7=19>>",
    "<|im_start|>user\n2+3?<|im_end|><tool_call>5</tool_call>",
    "don't WE'LL\t\t9,876.50 ",
)

UNKNOWN = {"tokenizer.ggml.unknown_token_id": 64}


def fields_of(tokenizer: Any, kind: str, pre: str | None, **fields: Any) -> dict[str, Any]:
    """What llama.cpp's converter writes of a tokenizer."""
    stored = json.loads(tokenizer.backend_tokenizer.to_str())
    by_id = {i: token for token, i in tokenizer.get_vocab().items()}
    added = {token["id"]: 3 if token["special"] else 4 for token in stored["added_tokens"]}
    num_tokens = max(by_id) + 4  # the embedding has more rows
    merges = [" ".join(merge) for merge in stored["model"]["merges"]]
    return {
        "tokenizer.ggml.model": kind,
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": [by_id.get(i, f"[PAD{i}]") for i in range(num_tokens)],
        "tokenizer.ggml.token_type": [added.get(i, 1 if i in by_id else 5) for i in range(num_tokens)],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": tokenizer.eos_token_id,
        "tokenizer.ggml.padding_token_id": tokenizer.pad_token_id,
    } | {f"tokenizer.ggml.{name}": value for name, value in fields.items()}


def read_again(folder: pathlib.Path, fields: dict[str, Any]) -> Any:
    """The tokenizer of a file with these fields, saved and loaded by transformers."""
    from transformers import AutoTokenizer

    tokenizer = load_gguf_tokenizer(open_gguf(write_gguf(folder / "model.gguf", GOLDEN, tokenizer=fields)))
    tokenizer.save_pretrained(folder / "saved")
    return AutoTokenizer.from_pretrained(folder / "saved")


@pytest.mark.parametrize(("kind", "pre"), [("digits", "qwen2"), ("numbers", "llama-bpe")])
def test_a_byte_level_tokenizer_gives_the_same_ids(tmp_path, kind, pre):
    before = make_tokenizer(kind)
    after = read_again(tmp_path, fields_of(before, "gpt2", pre))
    assert len(after) == len(before) and after.eos_token == before.eos_token and after.pad_token == before.pad_token
    for text in TEXTS:
        ids = before(text)["input_ids"]
        assert after(text)["input_ids"] == ids, text
        assert after.decode(ids) == before.decode(ids)


def test_a_tokenizer_of_sentence_pieces_gives_the_same_ids(tmp_path):
    before = make_tokenizer("digits after ▁")
    scores = [float(-i) for i in range(len(before) + 3)]
    fields = fields_of(before, "llama", None, scores=scores, bos_token_id=1, unknown_token_id=0)
    after = read_again(tmp_path, fields | {"tokenizer.ggml.merges": None})
    for text in TEXTS:
        assert after.decode(after(text)["input_ids"]) == before.decode(before(text)["input_ids"])
    plain = "She pays 12 dollars for 345 apples so 中"
    assert after(plain)["input_ids"] == before(plain)["input_ids"]
    assert after(plain)["input_ids"][0] == after.bos_token_id == 1


def test_the_chat_template_and_the_special_tokens_travel(tmp_path):
    tokenizer = read_again(tmp_path, dict(CHARACTERS_ALONE))
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<|im_start|>", "<|im_end|>", "<|pad|>")
    assert tokenizer.chat_template == CHARACTERS_ALONE["tokenizer.chat_template"]
    assert len(tokenizer) == 63, "the last id fills up the embedding"
    assert tokenizer("<|im_start|>12")["input_ids"] == [1, *tokenizer.convert_tokens_to_ids(["1", "2"])]


@pytest.mark.parametrize(("add", "first"), [(True, [1]), (False, []), (None, [])])
def test_texts_start_with_the_token_that_the_file_asks_for(tmp_path, add, first):
    tokenizer = read_again(tmp_path, CHARACTERS_ALONE | {"tokenizer.ggml.add_bos_token": add})
    assert tokenizer("7")["input_ids"] == [*first, tokenizer.convert_tokens_to_ids("7")]


def test_all_tokens_that_end_a_response_are_listed(tmp_path):
    fields = {"tokenizer.ggml.eot_token_id": 1, "tokenizer.ggml.eom_token_id": 2}
    file = open_gguf(write_gguf(tmp_path / "model.gguf", GOLDEN, fields))
    assert generation_settings(file) == {"bos_token_id": 1, "pad_token_id": 0, "eos_token_id": [2, 1]}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"tokenizer.ggml.model": "t5"}, "tokenizer.ggml.model='t5' is not supported; supported: gpt2, llama"),
        ({"tokenizer.ggml.pre": "jais"}, "tokenizer.ggml.pre='jais'"),
        ({"tokenizer.ggml.tokens": None}, r"has no tokenizer \(tokenizer.ggml.tokens\)"),
        ({"tokenizer.ggml.eos_token_id": 99}, "tokenizer.ggml.eos_token_id=99 is none of its 64 tokens"),
        ({"tokenizer.ggml.merges": ["~~ q"]}, "out of vocabulary"),
        ({"tokenizer.ggml.merges": ["~~"]}, "tokenizer.ggml.merges must hold pairs"),
        ({"tokenizer.ggml.merges": None}, "tokenizer.ggml.merges must hold pairs .* single bytes: convert"),
        ({"tokenizer.ggml.merges": [7]}, "tokenizer.ggml.merges must be a list of texts"),
        ({"tokenizer.ggml.pre": None}, "tokenizer.ggml.pre=None does not say how .* newer llama.cpp"),
        ({"tokenizer.ggml.pre": "default"}, "tokenizer.ggml.pre='default' does not say how"),
        ({"tokenizer.ggml.token_type": [1, 1]}, "tokenizer.ggml.token_type has 2 elements for 64 tokens"),
        ({"tokenizer.chat_template": 7}, "tokenizer.chat_template must be a text"),
        ({"tokenizer.ggml.model": "llama"}, "tokenizer.ggml.scores must hold"),
        ({"tokenizer.ggml.model": "llama", "tokenizer.ggml.scores": ["1"] * 64}, "scores must be a list of numbers"),
        ({"tokenizer.ggml.model": "llama", "tokenizer.ggml.scores": [1.0]}, "scores has 1 elements for 64 tokens"),
        (
            {"tokenizer.ggml.model": "llama", "tokenizer.ggml.scores": [1.0] * 64} | UNKNOWN,
            "tokenizer.ggml.unknown_token_id=64 is none of its 64 tokens",
        ),
    ],
)
def test_a_tokenizer_that_cannot_be_used_is_named(tmp_path, fields, says):
    file = open_gguf(write_gguf(tmp_path / "model.gguf", GOLDEN, fields))
    with pytest.raises(ValueError, match=rf"model.gguf has a tokenizer that cannot be used: .*{says}"):
        load_gguf_tokenizer(file)


@pytest.mark.slow
def test_a_field_of_another_kind_is_refused_in_one_line_or_changes_nothing(tmp_path):
    whole = open_gguf(write_gguf(tmp_path / "whole.gguf", GOLDEN))
    names = [name for name in whole.fields if not name.startswith("GGUF.")]
    for i, (name, value) in enumerate(itertools.product(names, ("x", 7.5, ["x"], [7]))):
        path = write_gguf(tmp_path / f"{i}.gguf", GOLDEN, {name: value})
        try:
            file = open_gguf(path)
            read = model_config(file), load_gguf_tokenizer(file), generation_settings(file)
        except ValueError as error:
            assert str(path) in str(error) and "\n" not in str(error), (name, value, error)
        else:
            assert len(read[1]) in (63, 64), (name, value)

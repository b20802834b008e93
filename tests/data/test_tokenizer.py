# SPDX-License-Identifier: Apache-2.0
"""The built-in tokenizer has digits and whole words as tokens, loses nothing, and is what the script writes."""

import importlib.util
import json
import pathlib
import re
import runpy
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntl_jax.data.files import load_problems
from ntl_jax.data.tokenizer import BUILT_IN, load_tokenizer
from ntl_jax.numerals import NumberTable, TokenDecoder
from ntl_jax.tasks.arithmetic.generator import generate_problems
from tests.small_tokenizers import KINDS, make_tokenizer

ROOT = pathlib.Path(__file__).parents[2]
GSM8K = ROOT / "tests" / "tasks" / "gsm8k_rows.jsonl"
ODD_TEXTS = (
    "5\xa0apples\u200b, a\u2028b",
    "’–×€÷−é£³¢”“¼½ñ¾è√ç\u2018\u0410—",
    "  two  spaces \t\r\n\n new line\n",
    "1,200.50 $-3%",
    "2² ٣ \uff17 五 🍎",
)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


def test_padding_and_end_are_the_first_two_ids_and_the_vocabulary_is_small(tokenizer):
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1)
    assert tokenizer.convert_ids_to_tokens([0, 1]) == ["<|pad|>", "<|endoftext|>"]
    assert len(tokenizer) <= 768
    assert sum(file.stat().st_size for file in BUILT_IN.iterdir()) < 100_000


def test_digits_are_single_tokens_and_no_token_holds_more_than_one(tokenizer):
    with_digits = [token for token in tokenizer.get_vocab() if re.search("[0-9]", token)]
    assert sorted(with_digits) == list("0123456789")
    assert tokenizer.tokenize("x 123") == ["x", "Ġ", "1", "2", "3"]


def test_every_word_of_the_generators_texts_is_one_token(tokenizer):
    pieces = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str
    for problem in generate_problems(1_000, seed=1, tiers=(1, 2, 3, 4)):
        for text in (problem.text + "\n", problem.solution):
            assert tokenizer.tokenize(text) == [piece for piece, _ in pieces(text)]


def test_the_marks_of_gsm8k_are_single_tokens(tokenizer):
    tokens = tokenizer.tokenize("Tom has 12+7=<<12+7=19>>19 pens.\n#### 19")
    assert tokens == [
        *("Tom", "Ġhas", "Ġ", "1", "2", "+", "7", "="),
        *("<<", "1", "2", "+", "7", "=", "1", "9", ">>", "1", "9", "Ġpens", ".Ċ", "####", "Ġ", "1", "9"),
    ]


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_characters_come_back_exactly(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@given(text=st.text())
def test_any_text_comes_back_exactly(text):
    tokenizer = load_tokenizer()
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_texts_of_gsm8k_come_back_exactly(tokenizer):
    problems, _ = load_problems([str(GSM8K)])
    texts = [text for problem in problems for text in (problem.text, problem.solution)]
    assert tokenizer.batch_decode(tokenizer(texts)["input_ids"]) == texts


@pytest.mark.parametrize(("tier", "question", "solution"), [(1, 22, 30), (2, 34, 58), (3, 48, 110), (4, 56, 150)])
def test_texts_of_a_tier_are_short(tokenizer, tier, question, solution):
    problems = generate_problems(300, seed=0, tiers=(tier,))
    assert max(len(row) for row in tokenizer([p.text for p in problems])["input_ids"]) <= question
    assert max(len(row) for row in tokenizer([p.solution for p in problems])["input_ids"]) <= solution


def test_the_script_writes_the_same_files_byte_for_byte(tmp_path):
    script = runpy.run_path(str(ROOT / "tools" / "train_tokenizer.py"))
    script["save"](script["train"](), tmp_path)
    for file in BUILT_IN.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize("kind", KINDS)
def test_tokenizers_load_from_a_folder_as_they_were_saved(tmp_path, kind):
    saved = make_tokenizer(kind)
    saved.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    text = "She has 12+7=19 apples 🍎"
    assert loaded(text)["input_ids"] == saved(text)["input_ids"]
    assert (loaded.eos_token_id, loaded.pad_token_id) == (saved.eos_token_id, saved.pad_token_id)


@pytest.mark.parametrize("content", [None, "{nope", "{}"], ids=["no file", "bad JSON", "another JSON"])
def test_a_folder_without_a_tokenizer_is_a_clear_error(tmp_path, content):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
        (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(ValueError, match=r"data\.tokenizer=.*holds no tokenizer.*None for the built-in"):
        load_tokenizer(str(tmp_path))


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path):
    shutil.copytree(BUILT_IN, tmp_path, dirs_exist_ok=True)
    config = json.loads((BUILT_IN / "tokenizer_config.json").read_text())
    del config["eos_token"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="no end-of-sequence token"):
        load_tokenizer(str(tmp_path))


@pytest.mark.skipif(importlib.util.find_spec("mistral_common") is not None, reason="mistral-common is installed")
@pytest.mark.parametrize("config", [None, {"model_type": "mistral"}])
def test_a_folder_with_tekken_json_says_what_to_install(tmp_path, config):
    (tmp_path / "tekken.json").write_text("{}")
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"^data\.tokenizer=[^\n]*tekken\.json[^\n]*pip install mistral-common$"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize("config", [None, {"model_type": "mistral"}])
def test_mistrals_own_tokenizer_loads_and_decodes_token_by_token(tmp_path, config):
    mistral_common = pytest.importorskip("mistral_common", reason="reads tekken.json, which is in its data")
    tekken = sorted((pathlib.Path(mistral_common.__path__[0]) / "data").glob("tekken_*.json"))[-1]
    (tmp_path / "tekken.json").symlink_to(tekken)
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(str(tmp_path))
    table = NumberTable.from_tokenizer(tokenizer)
    assert tokenizer.convert_ids_to_tokens(table.ids.tolist()) == [*"0123456789"]
    ids = tokenizer("so 7🍎\n#### 72", add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id, len(tokenizer)]
    text, starts = TokenDecoder(tokenizer)(np.array(ids))
    assert text == "so 7🍎\n#### 72"
    assert starts[-4:].tolist() == [len(text) - 2, len(text) - 1, len(text), len(text)]

# SPDX-License-Identifier: Apache-2.0
"""Chat templates are written as transformers writes them, texts as text; what fails is named."""

import copy

import pytest

from ntl_jax.config import PromptSection, RunConfig
from ntl_jax.data.problems import Problem
from ntl_jax.data.prompts import encode_prompts, encode_solutions
from ntl_jax.data.template import PLAIN, ChatTemplate, TextTemplate, load_template
from ntl_jax.data.writer import PromptWriter
from tests.small_tokenizers import make_tokenizer

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
INSTRUCT = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content | trim + ' [/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"
)
"""Of two kinds: turns between special tokens, and turns of which only the assistant's ends in one."""
KINDS = {"digits": CHATML, "digits after ▁": INSTRUCT}
USER = {"role": "user", "content": "2+3?"}
CHATS = {
    "a question": [USER],
    "after another": [{"role": "user", "content": " 1+1?\n"}, {"role": "assistant", "content": "2"}, USER],
}
ALL = "{% for m in messages %}{{ m.content }}{% endfor %}"


def chatty(kind: str, template: str | None = None):
    tokenizer = copy.copy(make_tokenizer(kind))
    tokenizer.chat_template = template or KINDS[kind]
    return tokenizer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turns", CHATS.values(), ids=CHATS)
def test_a_chat_template_writes_what_transformers_writes_and_its_ids_are_the_same(kind, turns):
    tokenizer = chatty(kind)
    write = load_template("auto", tokenizer)
    expected = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert write(turns) == expected
    (prompt,), _ = encode_prompts(
        [Problem(0, USER["content"], "5", "5", "mine")],
        tokenizer,
        render=lambda problem: write([*turns[:-1], {"role": "user", "content": str(problem.question)}]),
        max_tokens=99,
        adds_start=write.adds_start,
    )
    assert prompt.ids.tolist() == tokenizer.apply_chat_template(turns, add_generation_prompt=True)["input_ids"]
    assert prompt.text == expected


@pytest.mark.parametrize(("kind", "end"), [("digits", "<|im_end|>"), ("digits after ▁", "</s>")])
def test_the_token_after_the_assistants_words_ends_its_turn(kind, end):
    assert load_template("auto", chatty(kind)).end_of_turn == chatty(kind).convert_tokens_to_ids(end)
    assert load_template("auto", chatty(kind, ALL)).end_of_turn is None


def test_the_white_space_before_the_assistants_words_is_known():
    gaps = {kind: load_template("auto", chatty(kind)).gap for kind in KINDS}
    assert gaps == {"digits": "", "digits after ▁": " "}


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_and_its_solution_are_the_templates_text_of_both_turns(kind):
    tokenizer = chatty(kind)
    write = PromptWriter(PromptSection(), load_template("auto", tokenizer), lambda problem: problem.question)
    problem = Problem(0, USER["content"], "5", "5", "mine")
    prompts, _ = encode_prompts([problem], tokenizer, render=write, max_tokens=99, adds_start=False)
    end = load_template("auto", tokenizer).end_of_turn
    ((prompt, solution),), _ = encode_solutions(prompts, tokenizer, max_tokens=9, end=end, reply=write.reply)
    both = tokenizer.apply_chat_template([USER, {"role": "assistant", "content": "5"}])["input_ids"]
    assert [*prompt.ids.tolist(), *solution.tolist()] == both[: len(prompt.ids) + len(solution)]


def test_auto_is_the_tokenizers_template_or_the_question_alone_and_none_is_always_the_latter():
    assert RunConfig().prompt.template == "auto"
    for kind in ("built-in", "numbers"):
        assert load_template("auto", make_tokenizer(kind))([USER]) == "2+3?\n" == PLAIN.format(question="2+3?")
    assert load_template("none", chatty("digits"))([USER]) == "2+3?\n"
    assert isinstance(load_template("auto", chatty("digits")), ChatTemplate)


def test_a_file_takes_the_place_of_the_tokenizers_template(tmp_path):
    (tmp_path / "mine.jinja").write_text("{% for m in messages %}{{ m.role }} says {{ m.content }}. {% endfor %}")
    write = load_template(str(tmp_path / "mine.jinja"), chatty("digits"))
    assert write([USER]) == "user says 2+3?. " and not write.adds_start


def test_a_text_template_writes_a_chat_as_blocks_of_text():
    system, assistant = {"role": "system", "content": "Add."}, {"role": "assistant", "content": "5"}
    assert TextTemplate("Q: {question} A:")([system, USER, assistant, USER]) == "Add.\n\nQ: 2+3? A:5\n\nQ: 2+3? A:"


def test_the_date_of_a_prompt_is_not_todays():
    write = load_template("auto", chatty("digits", ALL + "{{ strftime_now('%d %B %Y, %Y-%m-%d') }}"))
    assert write([USER]) == "2+3?26 July 2024, 2024-07-26"


def test_what_a_template_leaves_out_before_the_assistants_words_is_said():
    cut = CHATML.partition("{% if add_generation_prompt")[0]
    about = load_template("auto", chatty("digits", cut)).about
    assert r"leaves out '<|im_start|>assistant\n' before what the assistant says (prompt.prefix adds it)" in about
    for kind in KINDS:
        assert load_template("auto", chatty(kind)).about == "the tokenizer's chat template"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{% for m in messages %}", "fails in line 1: Unexpected end of template"),
        ("\n{{ m | no }}", "fails in line 2: No filter named 'no'"),
        ("{{ raise_exception('not with me') }}", "fails: not with me"),
        ("{{ messages[4].content }}", "has no element 4"),
        ("{{ messages[0].content + 1 }}", "fails: can only concatenate"),
        ("{{ speaker.name }}", "'speaker' is undefined"),
        ("{% for i in range(1000000) %}{% endfor %}", "Range too big"),
        ("", "leaves out or changes the user's message"),
        ("{{ question }}", "prints question, which has no value: there are messages"),
        ("{{ messages[0].content | upper }}", "it writes '{QUESTION}'"),
        (ALL + "{{ instruction }} {{ end | trim }}", "prints instruction, end, which has no value: there are messages"),
    ],
)
def test_a_template_that_fails_is_named_with_its_own_words(tmp_path, template, says):
    with pytest.raises(ValueError, match=r"^prompt\.template='auto': the chat template ") as refusal:
        load_template("auto", chatty("digits", template or " "))
    assert says in str(refusal.value)
    (tmp_path / "mine.jinja").write_text(template)
    with pytest.raises(ValueError, match=r"^prompt\.template='.*mine\.jinja': the chat template ") as refusal:
        load_template(str(tmp_path / "mine.jinja"), make_tokenizer("digits"))
    assert says in str(refusal.value)


def test_variables_that_a_template_tests_or_gives_a_default_may_be_missing():
    optional = "{% if date is defined %}{{ date }}{% endif %}{{ greeting | default('Hi') }}{{ bos_token }}"
    unreached = "{% if 1 > 2 %}{% set x = 1 %}{% endif %}{{ x }}"
    assert load_template("auto", chatty("digits", ALL + optional + unreached))([USER]) == "2+3?Hi"


def test_a_chat_that_a_template_does_not_take_is_an_error_of_the_template():
    write = load_template("auto", chatty("digits after ▁"))
    with pytest.raises(ValueError, match=r"^prompt\.template='auto': the chat template fails: only user and assistant"):
        write([{"role": "system", "content": "Add."}, USER])


def test_files_that_are_no_templates_are_named(tmp_path):
    (tmp_path / "mine.jinja").write_bytes(b"\xff")
    (tmp_path / "folder.jinja").mkdir()
    for name, says in {
        "absent.jinja": "does not exist: .* has folder.jinja, mine.jinja",
        "folder.jinja": "is a folder",
        "mine.jinja": "not UTF-8",
    }.items():
        with pytest.raises(ValueError, match=rf"^prompt\.template='.*{name}'(:)? {says}"):
            load_template(str(tmp_path / name), make_tokenizer("digits"))

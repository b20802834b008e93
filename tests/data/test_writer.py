# SPDX-License-Identifier: Apache-2.0
"""What surrounds a question: a system message, examples, an instruction, and the beginning of the response."""

import pytest

from ntl_jax.config import PromptSection
from ntl_jax.data.problems import Problem
from ntl_jax.data.template import TextTemplate, load_template
from ntl_jax.data.writer import PromptWriter
from tests.data.test_template import ALL, chatty

PROBLEMS = [Problem(i, f"What is {i} + {i}?", str(2 * i), str(2 * i), "mine") for i in range(4)]
TURNS = Problem(9, ({"role": "system", "content": "Add."}, {"role": "user", "content": "1+1?"}), "2", "2", "mine")


def writer(template=None, examples=PROBLEMS, **settings) -> PromptWriter:
    template = template or load_template("auto", chatty("digits"))
    return PromptWriter(PromptSection(**settings), template, lambda problem: problem.question, examples)


def turn(role: str, content: str) -> str:
    return f"<|im_start|>{role}\n{content}<|im_end|>\n"


def test_every_setting_has_its_place_in_a_chat():
    write = writer(system="Be exact.", few_shot=1, suffix="Answer with the number only.", prefix="Answer:")
    assert write(PROBLEMS[3]) == (
        turn("system", "Be exact.")
        + turn("user", "What is 0 + 0? Answer with the number only.")
        + turn("assistant", "Answer: 0")
        + turn("user", "What is 3 + 3? Answer with the number only.")
        + "<|im_start|>assistant\nAnswer:"
    )
    assert write.reply("5") == " 5" and writer(prefix="Answer: ").reply("5") == writer().reply("5") == "5"


@pytest.mark.parametrize(
    ("prefix", "solution", "reply"),
    [
        ("Answer:", "Answer: 5", " 5"),
        ("Answer: ", "Answer: 5", "5"),
        ("Answer: ", "Answer:\n5", "5"),
        ("Answer:", "Answer:5", "5"),
        ("\nIt is", "It is 5", " 5"),
        ("It is", "It isn't 4 but 5", " It isn't 4 but 5"),
        ("A", "Apples: 5", " Apples: 5"),
        ("Answer:", "The Answer: 5", " The Answer: 5"),
        ("Answer:", "Answer:", " Answer:"),
        ("\n", "5", "5"),
    ],
)
def test_a_solution_that_begins_with_the_prefix_has_it_once(prefix, solution, reply):
    write = writer(TextTemplate("{question}\n"), [Problem(0, "1?", solution, "5", "mine"), *PROBLEMS],
                   prefix=prefix, few_shot=1)  # fmt: skip
    assert write.reply(solution) == reply and f"1?\n{prefix}{reply}\n\n" in write(PROBLEMS[0])


def test_every_setting_has_its_place_in_a_text():
    write = writer(TextTemplate("Q: {question}\nA:"), system="Add.", few_shot=1, suffix="\nBriefly.", prefix=" It is")
    block = "Q: What is {0} + {0}?\nBriefly.\nA: It is"
    assert write(PROBLEMS[3]) == "Add.\n\n" + block.format(0) + " 0\n\n" + block.format(3)


def test_examples_are_the_first_problems_but_never_the_one_that_is_asked():
    write = writer(TextTemplate("{question}\n"), examples=PROBLEMS[:3], few_shot=2)
    for asked in PROBLEMS:
        text = write(asked)
        shown = [problem.index for problem in PROBLEMS if problem.text in text and problem is not asked]
        assert shown == [problem.index for problem in PROBLEMS[:3] if problem is not asked][:2]
        assert text.count(asked.text) == 1 and text.endswith(f"{asked.text}\n")


def test_messages_keep_their_system_message_unless_the_settings_have_one():
    assert (
        writer(suffix="Now.")(TURNS) == turn("system", "Add.") + turn("user", "1+1? Now.") + "<|im_start|>assistant\n"
    )
    assert writer(system="Be exact.")(TURNS).startswith(turn("system", "Be exact.") + turn("user", "1+1?"))
    assert writer(examples=[TURNS, *PROBLEMS], few_shot=1)(PROBLEMS[0]).startswith(turn("user", "1+1?"))


def test_a_chat_that_does_not_end_with_the_user_is_refused():
    with pytest.raises(ValueError, match="problem 9: the last message must be the user's"):
        writer()(Problem(9, ({"role": "assistant", "content": "2"},), "2", "2", "mine"))


@pytest.mark.parametrize(
    ("template", "role"),
    [
        ("{{ messages[-1].content }}", "system"),
        ("{% for m in messages %}{% if m.role != 'assistant' %}{{ m.content }}{% endif %}{% endfor %}", "assistant"),
        ("{% for m in messages %}{% if loop.index != 2 %}{{ m.content }}{% endif %}{% endfor %}", "user"),
    ],
)
def test_a_template_that_leaves_out_a_message_of_a_row_is_refused(template, role):
    said = [("system", "Add."), ("user", "1+1?"), ("assistant", "2"), ("user", "2+2?")]
    turns = tuple({"role": role, "content": content} for role, content in said)
    write = writer(load_template("auto", chatty("digits", template)))
    write(PROBLEMS[0])
    with pytest.raises(ValueError, match=f"^a.jsonl:3: the tokenizer's chat template leaves out what the {role} says"):
        write(Problem(9, turns, "4", "4", "mine", place="a.jsonl:3"))


def test_too_few_problems_for_the_examples_are_refused():
    with pytest.raises(ValueError, match=r"prompt\.few_shot=4: there are only 4 different training problems"):
        writer(few_shot=4)


@pytest.mark.parametrize(
    ("template", "settings", "says"),
    [
        (
            "{{ messages[-1].content }}",
            {"system": "Add."},
            r"prompt\.system='Add\.': .* leaves out the system's 'Add\.'",
        ),
        ("{{ messages[-1].content }}", {"few_shot": 1}, r"prompt\.few_shot=1: .* leaves out the user's 'What is 0"),
        (
            "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}" + ALL,
            {"system": "Add."},
            r"prompt\.system='Add\.': with it, prompt\.template='auto': the chat template fails: no system here",
        ),
        (
            "{% if messages | length > 1 %}{{ raise_exception('one turn') }}{% endif %}" + ALL,
            {"few_shot": 1},
            r"prompt\.few_shot=1: with it, prompt\.template='auto': the chat template fails: one turn",
        ),
    ],
)
def test_a_setting_that_the_template_has_no_place_for_is_refused(template, settings, says):
    with pytest.raises(ValueError, match=says):
        writer(load_template("auto", chatty("digits", template)), **settings)

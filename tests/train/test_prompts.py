# SPDX-License-Identifier: Apache-2.0
"""What a run asks: rows of files and of the generator, as ids of the policy's tokenizer."""

import copy
import dataclasses
import json

import pytest

from ntl_jax.config import PromptSection
from ntl_jax.train.factory import build_task
from ntl_jax.train.prompts import Prompts, build_prompts

ROW = {"question": "Tom has 2 cups and buys 3 more.", "answer": "2+3=5.\n#### 5"}
BAD = {"question": "Tom has 2 cups.<|endoftext|>", "answer": "#### 2"}
LONG = {"question": "Tom has 2 cups and buys 3 more. " * 8, "answer": "#### 5"}


@pytest.fixture
def prompts_of(setup, tmp_path):
    """The prompts of two files with the same rows, to train and to evaluate on."""

    def build(
        *rows: dict[str, str], steps=4, eval_problems: int | None = 8, prompt=None, by=None, trains=True, **settings
    ) -> Prompts:
        paths = {"train": tmp_path / "train.jsonl", "eval": tmp_path / "eval.jsonl"}
        for path in paths.values():
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = dataclasses.replace(setup.config.data, **{name: (str(x),) for name, x in paths.items()}, **settings)
        trainer = dataclasses.replace(setup.config.trainer, eval_problems=eval_problems)
        warm_start = dataclasses.replace(setup.config.warm_start, steps=steps)
        sections = {"data": data, "prompt": PromptSection(**prompt or {}), "trainer": trainer, "warm_start": warm_start}
        config = dataclasses.replace(setup.config, **sections)
        return build_prompts(config, build_task(config), by or setup.policy.tokenizer, trains=trains)

    return build


def test_rows_with_special_tokens_stop_the_run(prompts_of):
    with pytest.raises(ValueError, match=r"data\.train=.*1 of 5 rows .*\n.*train\.jsonl:2: its question .*endoftext"):
        prompts_of(ROW, BAD, ROW, ROW, ROW)


def test_rows_with_special_tokens_can_be_skipped_and_are_counted(prompts_of):
    prompts = prompts_of(ROW, BAD, ROW, ROW, ROW, on_bad_row="skip")
    assert [p.index for p in prompts.train] == [p.index for p in prompts.held_out] == [0, 2, 3, 4]
    assert "4 train, 4 held out, 4 of them trained on too: their accuracy says little; left out: 2" in prompts.about


def test_rows_that_are_too_long_are_skipped_and_counted_or_stop_the_run(prompts_of):
    prompts = prompts_of(ROW, LONG, max_prompt_tokens=40)
    assert [p.index for p in prompts.train] == [0] and prompts.about.endswith("left out: 2 long prompts")
    prompts = prompts_of(ROW, LONG, max_solution_tokens=8)
    assert [prompt.index for prompt, _ in prompts.solved] == [1] and len(prompts.train) == 2
    assert prompts.about.endswith("left out: 1 long solutions (warm start)")
    with pytest.raises(ValueError, match="max_prompt_tokens"):
        prompts_of(ROW, LONG, max_prompt_tokens=40, on_long_row="error")


def test_without_a_warm_start_solutions_may_be_of_any_length(prompts_of):
    for settings in ({"max_solution_tokens": 2}, {"max_solution_tokens": 8, "on_long_row": "error"}):
        prompts = prompts_of(ROW, LONG, steps=0, **settings)
        assert len(prompts.solved) == 2 and "left out" not in prompts.about


def test_what_only_an_evaluation_needs_is_read_where_nothing_is_learned(prompts_of):
    shown = {"few_shot": 1}
    prompts = prompts_of(LONG, ROW, eval_problems=1, trains=False, prompt=shown)
    assert (prompts.train, prompts.solved, len(prompts.held_out)) == ([], [], 1)
    assert prompts.held_out[0].text == f"{ROW['question']}\n{ROW['answer']}\n\n{LONG['question']}\n"
    prompts = prompts_of(ROW, max_solution_tokens=1, on_long_row="error", trains=False)
    assert len(prompts.held_out) == 1 and prompts.longest == len(prompts.held_out[0].ids)


def test_rows_are_counted_by_source_with_their_shares_of_the_draws(setup, tmp_path):
    for name, count in {"a.jsonl": 3, "b.jsonl": 1, "c.jsonl": 2, "d.jsonl": 1}.items():
        rows = [ROW | {"question": f"{name} {i}?", "answer": str(i)} for i in range(count)]
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
    sources = [str(tmp_path / f"{name}.jsonl") for name in "abcd"]
    data = dataclasses.replace(setup.config.data, train=(*sources[:2],), weights=(3.0, 1.0), eval=(*sources[2:],))
    config = dataclasses.replace(setup.config, data=data)
    prompts = build_prompts(config, build_task(config), setup.policy.tokenizer)
    assert prompts.about == (
        f"{', '.join(sources)}: 4 train (3 of {sources[0]}, 75% of the draws; 1 of {sources[1]}, 25% of the draws), "
        f"3 held out (2 of {sources[2]}; 1 of {sources[3]})"
    )
    assert [prompt.source_index for prompt in prompts.train] == [0, 0, 0, 1]
    assert {prompt.data_source for prompt in prompts.held_out} == {"c", "d"}


def test_the_held_out_problems_of_an_evaluation_are_the_first_of_each_source(setup, tmp_path):
    for name, count in {"a.jsonl": 40, "b.jsonl": 20}.items():
        rows = [{"question": f"{name} {i}?", "answer": i} for i in range(count)]
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
    sources = (str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"))
    config = dataclasses.replace(setup.config, data=dataclasses.replace(setup.config.data, eval=sources))
    asked = build_prompts(config, build_task(config), setup.policy.tokenizer).held_out
    assert len(asked) == config.trainer.eval_problems == 8
    assert [prompt.ground_truth for prompt in asked] == ["0", "1", "2", "3", "4", "0", "1", "2"]
    assert [prompt.source_index for prompt in asked] == [0] * 5 + [1] * 3


def test_a_weight_needs_rows_to_draw(setup, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW))
    (tmp_path / "b.jsonl").write_text(json.dumps(LONG))
    train = (str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"))
    limits = {"max_prompt_tokens": 40, "weights": (1.0, 1.0)}
    config = dataclasses.replace(
        setup.config, data=dataclasses.replace(setup.config.data, train=train, eval=train, **limits)
    )
    with pytest.raises(ValueError, match=r"data\.weights=.*is the share of .*b\.jsonl, all of whose rows are left out"):
        build_prompts(config, build_task(config, new=False), setup.policy.tokenizer)


def test_the_template_is_around_every_question(prompts_of, setup):
    prompts = prompts_of(ROW, prompt={"template": "Q:\t{question}\nA:"})
    assert prompts.train[0].text == f"Q:\t{ROW['question']}\nA:"
    assert setup.policy.tokenizer.decode(prompts.train[0].ids) == prompts.train[0].text


def test_a_chat_model_is_asked_by_its_template_and_its_turns_end_as_the_template_ends_them(prompts_of, setup, tmp_path):
    tokenizer = copy.copy(setup.policy.tokenizer)
    turn, begun = "{{ m.role }}: {{ m.content }}<|pad|>\n", "{% if add_generation_prompt %}assistant: {% endif %}"
    tokenizer.chat_template = f"{{% for m in messages %}}{turn}{{% endfor %}}{begun}"
    rows = [ROW, ROW | {"question": "And 4 more?"}, ROW | {"question": "And 5?"}]
    prompts = prompts_of(*rows, prompt={"few_shot": 1, "suffix": "Add."}, by=tokenizer)
    example = f"user: And 4 more? Add.<|pad|>\nassistant: {ROW['answer']}<|pad|>\n"
    assert prompts.train[0].text == f"{example}user: {ROW['question']} Add.<|pad|>\nassistant: "
    assert prompts.train[0].text == tokenizer.decode(prompts.train[0].ids)
    assert {int(solution[-1]) for _, solution in prompts.solved} == {tokenizer.pad_token_id}
    assert prompts.written.startswith("the tokenizer's chat template, instruction 'Add.', 1 training problem")


def test_the_contents_of_the_files_that_settings_name_are_kept(prompts_of, tmp_path):
    template = tmp_path / "mine.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    prompts = prompts_of(ROW, prompt={"template": str(template)})
    assert prompts.files == {"prompt.template": template.read_text()} and prompts_of(ROW).files == {}


def test_solutions_end_with_the_end_of_text(prompts_of, setup):
    ((prompt, solution),) = prompts_of(ROW).solved
    assert solution[-1] == setup.policy.tokenizer.eos_token_id
    assert setup.policy.tokenizer.decode(solution[:-1]) == ROW["answer"] and prompt.ground_truth == "5"


def test_only_so_many_problems_are_held_out_or_all_of_a_file(prompts_of):
    assert len(prompts_of(ROW, ROW, ROW, eval_problems=2).held_out) == 2
    assert len(prompts_of(ROW, ROW, ROW, eval_problems=None).held_out) == 3


def test_the_bounds_of_rows_are_those_of_the_longest_prompt(prompts_of):
    prompts = prompts_of(ROW, LONG)
    assert prompts.longest == max(len(prompt.ids) for prompt in prompts.train)
    shape = prompts.shape(24)
    assert (shape.row, shape.response) == (prompts.longest + 24, 24)


def test_the_generators_problems_are_named_with_their_settings(setup):
    assert setup.prompts.about == "built-in generator, tiers (1,), numbers to 9: 200 train, 8 held out"
    assert not {p.text for p in setup.prompts.train} & {p.text for p in setup.prompts.held_out}

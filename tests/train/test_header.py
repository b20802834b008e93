# SPDX-License-Identifier: Apache-2.0
"""What a run says of itself before it starts."""

import dataclasses
import json

import numpy as np
import pytest

from ntl_jax.config import AnswerSection, ModelSection, NTLSection, stored_config
from ntl_jax.tasks import JudgedTask
from ntl_jax.train.header import describe, describe_evaluation, find_warnings, write_provenance


def rows_of(setup, folder, **sections) -> dict[str, str]:
    config = dataclasses.replace(setup.config, **sections)
    return describe(config, setup.policy, setup.prompts, "my_reward.py:score", folder)


def test_the_header_says_what_is_trained_on_what_and_where(setup, tmp_path):
    rows = rows_of(setup, tmp_path)
    assert rows["policy"] == "Qwen2ForCausalLM, 2 layers of width 32, 0.04M parameters, from scratch"
    assert rows["tokenizer"].endswith("digits 0..9 have ids 17 18 19 20 21 22 23 24 25 26")
    assert rows["data"] == setup.prompts.about and rows["run folder"] == str(tmp_path)
    assert rows["rollout"] == "jax engine, 4 prompts x 4 samples, up to 24 tokens, temperature 1.0"
    assert "reward my_reward.py:score, NTL-mse of final_answer x 0.1 in the loss" in rows["ppo"]
    assert rows["devices"].endswith("mesh data=1 x fsdp=1 x tensor=1")


def test_the_header_says_where_there_is_no_ntl_and_where_the_policy_is_from(setup, tmp_path):
    model = ModelSection(path="a/model", mesh=(1, 1, 1))
    rows = rows_of(setup, tmp_path, ntl=NTLSection(enabled=False), model=model)
    assert rows["ppo"].endswith("no NTL") and rows["policy"].endswith("from a/model")


def test_the_first_prompt_is_shown_with_escapes_and_special_tokens(setup, tmp_path):
    rows = rows_of(setup, tmp_path)
    text, count = setup.prompts.train[0].text, len(setup.prompts.train[0].ids)
    assert rows["first prompt"] == f"{text!r}, {count} tokens, special tokens: none" and r"\n'" in rows["first prompt"]


def test_the_ends_of_a_response_are_tokens_with_their_ids_and_strings(setup, tmp_path):
    rollout = dataclasses.replace(setup.config.rollout, stop_strings=("\n\n", "A:,B:"))
    rows = rows_of(setup, tmp_path, rollout=rollout)
    assert rows["end of a response"] == r"<|endoftext|> (1), '\n\n', 'A:,B:'"


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (0, "1,319 problems of the built-in generator, greedy"),
        (4, "1,319 problems of the built-in generator, greedy, and 4 samples of each at temperature 0.7, top_p 1.0"),
    ],
)
def test_an_evaluation_is_described_with_how_it_asks(setup, samples, expected):
    trainer = dataclasses.replace(setup.config.trainer, eval_samples=samples, eval_temperature=0.7)
    assert describe_evaluation(dataclasses.replace(setup.config, trainer=trainer), 1319) == expected


def test_the_folder_holds_the_configuration_the_versions_and_the_hardware(setup, tmp_path):
    write_provenance(setup.config, tmp_path)
    assert stored_config(tmp_path) == setup.config
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert environment["packages"].keys() >= {"ntl_jax", "jax", "flax", "optax", "orbax-checkpoint"}
    assert environment.keys() == {"python", "machine", "devices", "commit", "packages"}
    assert len(environment["devices"]) == 8


@pytest.mark.parametrize(("num_long", "warned"), [(0, False), (5, False), (6, True), (100, True)])
def test_solutions_that_do_not_fit_are_warned_of_with_their_lengths_and_the_remedy(setup, num_long, warned):
    prompt = setup.prompts.train[0]
    lengths = [8] * (100 - num_long) + [120] * num_long
    prompts = dataclasses.replace(setup.prompts, solved=[(prompt, np.zeros(n, np.int32)) for n in lengths])
    found = find_warnings(setup.config, prompts, setup.task)
    assert len(found) == warned
    if warned:
        assert found[0].startswith(f"{num_long}% of the reference solutions do not fit in rollout.max_tokens=24")
        assert "to 120 tokens" in found[0] and found[0].endswith("set rollout.max_tokens=120")


def test_rates_for_a_policy_from_scratch_are_warned_of_where_weights_are_loaded(setup):
    config = dataclasses.replace(setup.config, rollout=dataclasses.replace(setup.config.rollout, max_tokens=64))
    assert find_warnings(config, setup.prompts, setup.task) == []
    loaded = dataclasses.replace(config, model=ModelSection(path="a/model"))
    assert [text.partition("=")[0] for text in find_warnings(loaded, setup.prompts, setup.task)] == [
        "warm_start.optimizer.learning_rate",
        "algorithm.optimizer.learning_rate",
    ]
    gentle = dataclasses.replace(loaded.algorithm.optimizer, learning_rate=1e-6)
    algorithm = dataclasses.replace(loaded.algorithm, optimizer=gentle)
    skipped = dataclasses.replace(loaded.warm_start, steps=0)
    config = dataclasses.replace(loaded, algorithm=algorithm, warm_start=skipped)
    assert find_warnings(config, setup.prompts, setup.task) == []


def test_solutions_that_give_their_answers_otherwise_than_they_are_read_are_warned_of(setup, tmp_path):
    boxed = JudgedTask(setup.task, AnswerSection(form="box"), numeric=True)
    *_, warning = find_warnings(setup.config, setup.prompts, boxed)
    assert warning.startswith("200 of 200 reference solutions are not right as answers are read, the first from '")
    assert "answer.form" in warning and "prompt.suffix" in warning
    shown = rows_of(setup, tmp_path, answer=AnswerSection(form="box"))["answers"]
    assert shown == "the last \\boxed{}; right if exactly the reference"


def test_solutions_are_read_from_behind_the_prefix(setup):
    marked = JudgedTask(setup.task, AnswerSection(form="line"), numeric=True)
    begun = dataclasses.replace(setup.prompts, reply=lambda solution: solution.replace("####", ""))
    found = [find_warnings(setup.config, prompts, marked) for prompts in (setup.prompts, begun)]
    assert found[1][:-1] == found[0] and found[1][-1].startswith("200 of 200 reference solutions are not right")


def test_the_ids_of_the_first_prompt_are_shown(setup, tmp_path):
    ids = setup.prompts.train[0].ids.tolist()
    assert rows_of(setup, tmp_path)["its token ids"] == " ".join(map(str, ids))

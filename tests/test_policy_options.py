# SPDX-License-Identifier: Apache-2.0
"""A name on the command line is a run, with its settings, or a model, with the defaults; options change them."""

import argparse

import pytest

from ntl_jax.config import AnswerSection, DataSection, RunConfig, config_to_json
from ntl_jax.config.serialization import leaves
from ntl_jax.policy_options import OF_PROMPT, OPTIONS, AskedPolicy, add_policy_options, policy_settings


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_policy_options(parser)
    return parser.parse_args(words)


def run(config: RunConfig) -> AskedPolicy:
    return AskedPolicy("a", True, "newest", config)


def test_a_run_folder_has_its_own_settings_and_its_newest_checkpoint(tmp_path):
    (tmp_path / "config.json").write_text(config_to_json(RunConfig(seed=3)))
    assert AskedPolicy.of(str(tmp_path)) == (str(tmp_path), True, "newest", RunConfig(seed=3))
    assert AskedPolicy.of(str(tmp_path), "best").checkpoint == "best"


def test_anything_else_is_a_model_without_checkpoints():
    asked = AskedPolicy.of("a/model")
    assert not asked.is_run and asked.config.model.path == "a/model" and asked.config.name == "model"
    with pytest.raises(ValueError, match="--checkpoint=best: a/model is a model"):
        AskedPolicy.of("a/model", "best")


def test_every_option_changes_the_setting_that_messages_name_by_it_and_no_other():
    settings = {leaf.path: leaf.value for leaf in leaves(RunConfig())}
    values = {
        "task": "calculations", "few_shot": "3", "max_tokens": "7", "max_prompt_tokens": "8", "engine": "vllm",
        "stop_strings": "x", "answer.form": "box", "answer.pattern": "(x)", "answer.tolerance": "0.5",
        "answer.verifier": "math_verify",
        **dict.fromkeys({*OF_PROMPT} - {"few_shot"}, "x{question}"),
    }  # fmt: skip
    for name, path in OPTIONS.items():
        option = f"--{name.replace('_', '-')}"
        words = [option, "2", "1", "1"] if name == "mesh" else [f"{option}={values[name]}"]
        found = {leaf.path: leaf.value for leaf in leaves(policy_settings(parse("a", *words), run(RunConfig())))}
        assert {p for p in settings if found[p] != settings[p]} == {path}


def test_a_model_is_asked_with_the_settings_of_a_configuration_and_a_run_with_its_own(tmp_path):
    asked = AskedPolicy.of("a/model", config="gsm8k_ntl")
    assert asked.config.model.path == "a/model" and asked.config.rollout.max_tokens == 32
    (tmp_path / "config.json").write_text(config_to_json(RunConfig()))
    with pytest.raises(ValueError, match=r"--config=gsm8k_ntl: .* is a run, which has settings of its own"):
        AskedPolicy.of(str(tmp_path), config="gsm8k_ntl")


def test_a_task_takes_the_place_of_the_runs_sources_and_of_the_options_of_another_task():
    files = RunConfig(data=DataSection(train=("a.jsonl", "b.jsonl"), eval=("c.jsonl",), weights=(1, 2)))
    gym = RunConfig(data=DataSection(task="reasoning_gym:chain_sum", task_options=("max_terms=3",)))
    sums = policy_settings(parse("a", "--task=calculations"), run(files))
    sums.validate(files)
    assert sums.data == DataSection(task="calculations")
    assert policy_settings(parse("a", "--task=reasoning_gym:gcd"), run(gym)).data == DataSection(
        task="reasoning_gym:gcd"
    )
    assert policy_settings(parse("a", "--task=reasoning_gym:chain_sum"), run(gym)) == policy_settings(
        parse("a"), run(gym)
    )


def test_escapes_in_stop_strings_are_read_and_a_form_and_a_pattern_take_each_others_place():
    config = policy_settings(parse("a", "--stop-strings", r"\n\n", "Q:"), run(RunConfig()))
    assert config.rollout.stop_strings == ("\n\n", "Q:")
    pattern = RunConfig(answer=AnswerSection(pattern="is (.*)"))
    boxed = policy_settings(parse("a", "--answer.form=box"), run(pattern))
    boxed.validate(pattern)
    assert boxed.answer == AnswerSection(form="box")


def test_examples_are_shown_to_a_model_only_where_training_problems_are_known():
    model, words = AskedPolicy.of("a/model"), ("a/model", "--few-shot=4")
    with pytest.raises(ValueError, match=r"--few-shot=4: a/model is a model.*--config=FILE.py, or a task, with --task"):
        policy_settings(parse(*words), model)
    named = AskedPolicy.of("a/model", config="gsm8k_ntl")
    for asked, more in ((model, ("--task=calculations",)), (named, ("--config=gsm8k_ntl",)), (run(RunConfig()), ())):
        assert policy_settings(parse(*words, *more), asked).prompt.few_shot == 4

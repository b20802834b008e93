# SPDX-License-Identifier: Apache-2.0
"""A name on the command line is a run, with its settings, or a model, with the defaults; options change them."""

import argparse

import pytest

from ntl_jax.config import RunConfig, config_to_json
from ntl_jax.config.serialization import leaves
from ntl_jax.policy_options import OF_PROMPT, OPTIONS, AskedPolicy, add_policy_options, policy_settings


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_policy_options(parser)
    return parser.parse_args(words)


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
        **dict.fromkeys({*OF_PROMPT} - {"few_shot"}, "x{question}"),
    }  # fmt: skip
    for name, path in OPTIONS.items():
        option = f"--{name.replace('_', '-')}"
        words = [option, "2", "1", "1"] if name == "mesh" else [f"{option}={values[name]}"]
        found = {leaf.path: leaf.value for leaf in leaves(policy_settings(parse("a", *words), RunConfig()))}
        assert {p for p in settings if found[p] != settings[p]} == {path}


def test_a_model_is_asked_with_the_settings_of_a_configuration_and_a_run_with_its_own(tmp_path):
    asked = AskedPolicy.of("a/model", config="gsm8k_ntl")
    assert asked.config.model.path == "a/model" and asked.config.rollout.max_tokens == 32
    (tmp_path / "config.json").write_text(config_to_json(RunConfig()))
    with pytest.raises(ValueError, match=r"--config=gsm8k_ntl: .* is a run, which has settings of its own"):
        AskedPolicy.of(str(tmp_path), config="gsm8k_ntl")

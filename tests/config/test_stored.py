# SPDX-License-Identifier: Apache-2.0
"""A run folder says which format it has; one that this version does not read is refused with both versions named."""

import json

import pytest

from launch import eval as evaluation
from launch import export, train
from ntl_jax.config import (
    CONFIG_FILE,
    FORMAT,
    DataSection,
    PromptSection,
    RunConfig,
    config_to_json,
    holds_run,
    stored_config,
)


def test_the_stored_configuration_is_the_one_that_was_written(tmp_path):
    config = RunConfig(seed=3)
    (tmp_path / CONFIG_FILE).write_text(config_to_json(config))
    assert json.loads((tmp_path / CONFIG_FILE).read_text())["format"] == FORMAT
    assert stored_config(tmp_path) == config and holds_run(tmp_path)


@pytest.mark.parametrize("given", [None, FORMAT + 1, 2, str(FORMAT), True, float(FORMAT)], ids=repr)
def test_another_format_is_refused_by_every_reader_in_one_line_with_both_versions(tmp_path, capsys, given):
    contents = json.loads(config_to_json(RunConfig())) | {"format": given}
    if given is None:
        del contents["format"]
    (tmp_path / CONFIG_FILE).write_text(json.dumps(contents))
    of_run = "none" if given is None else repr(given)
    named = f"the run has format {of_run}, and this version of ntl_jax reads formats 3 to {FORMAT}"
    assert train.main([f"--workdir={tmp_path}", "--resume"]) == 2
    assert evaluation.main([str(tmp_path)]) == 1
    assert export.main([str(tmp_path), str(tmp_path / "model")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(named in line and str(tmp_path) in line for line in lines)


def test_settings_that_a_format_added_have_the_values_with_which_older_runs_go_on(tmp_path):
    contents = json.loads(config_to_json(RunConfig(seed=3))) | {"format": 3}
    for name in ("timeout_s", "workers"):
        del contents["reward"][name]
    for name in ("weights", "fields"):
        del contents["data"][name]
    contents["data"] |= {"train": None, "eval": "test.jsonl"}
    (tmp_path / CONFIG_FILE).write_text(json.dumps(contents))
    assert stored_config(tmp_path) == RunConfig(seed=3, data=DataSection(eval=("test.jsonl",)))
    (tmp_path / CONFIG_FILE).write_text(json.dumps(contents | {"format": 4}))
    with pytest.raises(ValueError, match="timeout_s is missing"):
        stored_config(tmp_path)


def test_a_setting_that_moved_is_read_from_where_it_was(tmp_path):
    contents = json.loads(config_to_json(RunConfig())) | {"format": 4}
    del contents["prompt"], contents["answer"]
    contents["data"] |= {"template": "Q: {question}", "train": None, "eval": None}
    for name in ("weights", "fields"):
        del contents["data"][name]
    (tmp_path / CONFIG_FILE).write_text(json.dumps(contents))
    assert stored_config(tmp_path) == RunConfig(prompt=PromptSection(template="Q: {question}"))


def test_a_model_folder_holds_no_run(tmp_path):
    assert not holds_run(tmp_path / "absent")
    (tmp_path / CONFIG_FILE).write_text('{"architectures": ["Qwen2ForCausalLM"]}')
    assert not holds_run(tmp_path)
    (tmp_path / CONFIG_FILE).write_text("{")
    with pytest.raises(ValueError, match=r"config\.json cannot be read"):
        holds_run(tmp_path)

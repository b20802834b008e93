# SPDX-License-Identifier: Apache-2.0
"""What is no folder of a model is named as what it is."""

import os

import pytest

from ntl_jax.models import hf_folder


def test_a_folder_with_a_configuration_is_taken_with_its_whole_path(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert hf_folder("model") == hf_folder("./model") == hf_folder("~/model") == tmp_path / "model"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"config.json": '{"format": 3, "trainer": {}}'}, "is a run folder of launch/train.py"),
        ({"adapter_config.json": "{}", "adapter_model.safetensors": ""}, "merge_and_unload"),
        ({"model.gguf": "GGUF"}, "give that file, .*model.gguf"),
        ({"tokenizer.json": "{}"}, "a tokenizer"),
        ({"model.safetensors": ""}, "but no config.json"),
        ({"snapshots/abc/config.json": "{}"}, "snapshots/abc does"),
        ({}, "is an empty folder"),
    ],
)
def test_a_folder_of_something_else_is_named(tmp_path, files, expected):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=expected):
        hf_folder(tmp_path)


def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is a file"):
        hf_folder(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["/no/such/folder", "./qwen", "../qwen", "a/b/c", "~/none", "qwen.gguf", "a b"])
def test_a_path_is_no_name_on_the_hub(name):
    with pytest.raises(ValueError) as error:
        hf_folder(name)
    assert "does not exist" in str(error.value) and "hub did not" not in str(error.value)


def test_a_folder_of_nearly_the_same_name_is_proposed(tmp_path):
    (tmp_path / "qwen-0.5b").mkdir()
    with pytest.raises(ValueError, match=r"did you mean .*qwen-0.5b\?"):
        hf_folder(tmp_path / "qwen-0.5")


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_not_the_current_folder(name):
    with pytest.raises(ValueError, match="is empty: give a folder"):
        hf_folder(name)

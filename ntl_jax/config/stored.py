# SPDX-License-Identifier: Apache-2.0
"""The configuration that a run folder was made with."""

import json
import pathlib

from ntl_jax.config.sections import RunConfig
from ntl_jax.config.serialisation import from_dict

CONFIG_FILE = "config.json"
"""Of a run folder: the resolved configuration."""


def stored_config(run: pathlib.Path) -> RunConfig:
    """Reads it, and checks it.

    Args:
        run: the run folder.

    Raises:
        ValueError: the folder holds no run, or one whose configuration this version does not understand.

    Example:
        >>> import dataclasses, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / CONFIG_FILE).write_text(json.dumps(dataclasses.asdict(RunConfig(seed=3))))
        >>> stored_config(folder).seed
        3
    """
    path = run / CONFIG_FILE
    if not path.is_file():
        raise ValueError(f"{run} holds no run (there is no {path}): give a folder that launch/train.py made")
    try:
        stored = from_dict(RunConfig, json.loads(path.read_text(encoding="utf-8")))
        stored.validate()
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return stored

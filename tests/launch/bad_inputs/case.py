# SPDX-License-Identifier: Apache-2.0
"""One wrong command line, with its files, and what its answer must name."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal


@dataclasses.dataclass(frozen=True)
class BadInput:
    """A command line that must be answered with one line, before anything is loaded or compiled.

    Args:
        name: what is wrong.
        arguments: options of the command; ``{folder}`` stands for a fresh folder.
        says: texts that the answer must contain, such as the setting, the allowed values and the remedy; ``{folder}``
            as in ``arguments``.
        files: contents of files to write into the folder, by relative path.
        prepare: makes what ``files`` cannot, such as folders of models.
        command: which command of launch/ is run.
    """

    name: str
    arguments: tuple[str, ...]
    says: tuple[str, ...]
    files: Mapping[str, str | bytes] = dataclasses.field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None
    command: Literal["train", "eval", "export"] = "train"

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
    command: Literal["train", "eval", "export", "data", "divergence", "plan", "report", "sample", "get_model"] = "train"

    def set_up(self, folder: Path) -> list[str]:
        """Writes the files into a fresh folder; returns the words of the command line."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        if self.prepare is not None:
            self.prepare(folder)
        words = [word.replace("{folder}", str(folder)) for word in self.arguments]
        if self.command == "train":
            given = {word.split("=")[0] for word in words}
            words += [] if "--config" in given or "--resume" in given else ["--config=gsm8k_ntl"]
            words += [] if "--workdir" in given else [f"--workdir={folder / 'run'}"]
        return words

    def missing(self, answer: str, folder: Path) -> list[str]:
        """What the answer should contain, and does not."""
        return [text for text in self.says if text.replace("{folder}", str(folder)) not in answer]

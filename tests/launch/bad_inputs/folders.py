# SPDX-License-Identifier: Apache-2.0
"""Run folders that are taken, damaged, no run, or cannot be written."""

import fcntl
import json
import os
import shutil
from pathlib import Path

from tests.launch.bad_inputs.case import BadInput

RUN = Path(__file__).parents[2] / "train" / "folders" / "format_3"
"""A finished run."""
RESUMES = ("--workdir={folder}/run", "--resume")
LOCKS: list[int] = []
"""Open files, whose locks last as long as the process."""


def copied(folder: Path) -> Path:
    """Without what a run writes while it goes on."""
    return Path(shutil.copytree(RUN, folder / "run", ignore=shutil.ignore_patterns("*.jsonl")))


def finished(folder: Path) -> None:
    copied(folder)


def in_use(folder: Path) -> None:
    run = copied(folder)
    (run / ".lock").write_text("process 77 on another")
    LOCKS.append(os.open(run / ".lock", os.O_RDWR))
    fcntl.flock(LOCKS[-1], fcntl.LOCK_EX)


def new_in_use(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / ".lock").write_text("process 77 on another")
    LOCKS.append(os.open(folder / "run" / ".lock", os.O_RDWR))
    fcntl.flock(LOCKS[-1], fcntl.LOCK_EX)


def every_meta(text: str):
    def write(folder: Path) -> None:
        for path in copied(folder).glob("checkpoints/*/*/meta/metadata"):
            path.write_text(text)

    return write


def without(pattern: str):
    """Removes what matches from a copy of the run."""

    def remove(folder: Path) -> None:
        for path in copied(folder).glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def with_config(text: str):
    def write(folder: Path) -> None:
        (copied(folder) / "config.json").write_text(text)

    return write


def of_format(number: object):
    return with_config(json.dumps(json.loads((RUN / "config.json").read_text()) | {"format": number}))


def of_commands(name: str, says: tuple[str, ...], prepare) -> list[BadInput]:
    """The same folder resumed, evaluated, asked and exported."""
    return [
        BadInput(f"{name}, resumed", RESUMES, says, prepare=prepare),
        BadInput(f"{name}, evaluated", ("{folder}/run",), says, prepare=prepare, command="eval"),
        BadInput(f"{name}, asked", ("{folder}/run", "2+2?"), says, prepare=prepare, command="sample"),
        BadInput(f"{name}, exported", ("{folder}/run", "{folder}/model"), says, prepare=prepare, command="export"),
    ]


DAMAGED = ("no checkpoint is intact", "ppo/2 is damaged", "warm_start/2 is damaged", "start a new run")
CASES = [
    BadInput("a run in use, resumed", RESUMES, ("in use by process 77 on another", "--workdir=DIR"), prepare=in_use),
    BadInput("a folder in use", (), ("{folder}/run is in use by process 77", "--workdir=DIR"), prepare=new_in_use),
    BadInput("a finished run as a new one", (), ("already holds a run", "--resume"), prepare=finished),
    BadInput(
        "a file as run folder", ("--workdir={folder}/file",), ("{folder}/file is a file", "name a new"), {"file": "1"}
    ),
    BadInput("below a file", ("--workdir={folder}/file/a",), ("{folder}/file/a", "--workdir=DIR"), {"file": "1"}),
    BadInput("a folder that cannot be made", ("--workdir=/proc/run",), ("/proc/run", "--workdir=DIR")),
    BadInput("nothing to resume", RESUMES, ("{folder}/run holds no run", "launch/train.py")),
    *of_commands("meta of {}", (*DAMAGED, "meta/metadata holds {}"), every_meta("{}")),
    *of_commands("meta of a list", (*DAMAGED, "meta/metadata holds [1]"), every_meta("[1]")),
    *of_commands("meta cut short", (*DAMAGED, "meta/metadata cannot be read"), every_meta('{"cursor": {"nu')),
    *of_commands("empty meta", (*DAMAGED, "meta/metadata cannot be read"), every_meta("")),
    *of_commands("no meta", (*DAMAGED, "meta/metadata cannot be read"), without("checkpoints/*/*/meta")),
    *of_commands("empty config.json", ("config.json cannot be read",), with_config("")),
    *of_commands("config.json cut short", ("config.json cannot be read",), with_config('{"format": 3,')),
    *of_commands("format 2", ("format 2", "reads format"), of_format(2)),
    *of_commands("format 99", ("format 99", "reads format"), of_format(99)),
    *of_commands(
        "no arrays", ("no checkpoint is intact", "ppo/2 is damaged: state"), without("checkpoints/*/*/state/*")
    )[1:],
    *of_commands("no checkpoints", ("has no checkpoint yet", "save_every"), without("checkpoints"))[1:],
]

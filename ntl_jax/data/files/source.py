# SPDX-License-Identifier: Apache-2.0
"""What a source of problems is: a file, a folder with a data set of Hugging Face, or a data set of its hub."""

import difflib
import glob
import json
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from ntl_jax.config import from_home, several_in_one
from ntl_jax.data.problems import Split

MOST_NAMED = 5
"""How many files of a folder an error names."""
COMPRESSED = (".gz", ".bz2", ".xz")
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", *COMPRESSED)
"""Endings of files that hold problems; a name with one of them is no name of the hub."""
SAVED = ("dataset_dict.json", "state.json")
"""Files of a data set that ``save_to_disk`` has written, with splits and without."""
SPLITS: dict[Split, tuple[str, ...]] = {"train": ("train",), "held_out": ("test", "validation", "val", "dev", "eval")}
"""Names of the splits that are meant where none is given, by what they are for."""
_ON_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_ADDRESS = re.compile(r"[a-z][a-z0-9]+:/")


class Source(NamedTuple):
    """One source of problems.

    Args:
        text: as a setting names it.
        path: the file or the folder; None: a data set of the hub.
        name: the file without its endings, the folder, or the data set without its owner.
        configuration: of a data set; None: its only one.
        split: of a data set; None: as the purpose asks.
    """

    text: str
    path: pathlib.Path | None
    name: str
    configuration: str | None = None
    split: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether rows are read from a single file."""
        return self.path is not None and self.path.is_file()

    @property
    def has_splits(self) -> bool:
        """Whether it is a folder with the splits of a data set."""
        return self.path is not None and (self.path / SAVED[0]).is_file()

    def split_for(self, purpose: Split, there: Sequence[str]) -> str | None:
        """The split that is read of those that there are; None: it is not there, or none is meant.

        Example:
            >>> find_source("openai/gsm8k").split_for("held_out", ["train", "test"])
            'test'
        """
        meant = (self.split,) if self.split is not None else SPLITS[purpose]
        only = there if self.split is None and purpose == "train" and len(there) == 1 else ()
        return next((split for split in (*meant, *only) if split in there), None)

    @property
    def suffix(self) -> str:
        """The last ending of the file's name that is not of a compression: ``.csv`` of ``train.csv.gz``."""
        name = self.path.name if self.path else ""
        while name.endswith(COMPRESSED):
            name = name.rpartition(".")[0]
        return pathlib.Path(name).suffix.lower()


def find_source(text: str) -> Source:
    """The source that a text names. Nothing is read yet.

    Args:
        text: a path (``~`` stands for the home folder), ``FOLDER:SPLIT`` for a saved data set, or ``OWNER/NAME``,
            ``OWNER/NAME:SPLIT`` or ``OWNER/NAME:CONFIGURATION:SPLIT`` for one on the hub.

    Raises:
        ValueError: if there is no such file, in words that follow the text.

    Example:
        >>> find_source("openai/gsm8k:main:test")
        Source(text='openai/gsm8k:main:test', path=None, name='gsm8k', configuration='main', split='test')
    """
    whole = from_home(text)
    if whole.is_file():
        return Source(text, whole, _stem(whole.name))
    name, *parts = [text] if whole.exists() else text.split(":")
    path = from_home(name)
    split = parts[-1] if parts and all(parts) and len(parts) < 3 else None
    if path.is_dir() and len(parts) < 2 and bool(parts) == bool(split):
        if not any((path / file).is_file() for file in SAVED):
            raise ValueError(f"{text} {_folder(path)}")
        return Source(text, path, path.resolve().name, None, split)
    if _is_on_hub(name) and bool(parts) == bool(split):
        return Source(text, None, name.split("/")[1], parts[0] if len(parts) == 2 else None, split)
    raise ValueError(f"{text} {_instead_of_file(whole)}")


def are_same_rows(held_out: Source, train: Source) -> bool:
    """Whether two sources are one file, or one split of a data set, as far as this machine knows.

    Args:
        held_out, train: each with the split that is meant for its purpose, if it names none.

    Example:
        >>> same = find_source("openai/gsm8k:main:train"), find_source("openai/gsm8k")
        >>> are_same_rows(*same), are_same_rows(*same[::-1])
        (True, False)
    """
    if held_out.path is not None and train.path is not None:
        if not held_out.path.samefile(train.path):
            return False
        there = _saved_splits(held_out.path)
    elif held_out.path is None and train.path is None:
        configurations = {held_out.configuration, train.configuration} - {None}  # without one, it is the only one
        if held_out.text.partition(":")[0] != train.text.partition(":")[0] or len(configurations) > 1:
            return False
        there = [split for split in (held_out.split, train.split) if split is not None]
        there += [SPLITS[purpose][0] for purpose in SPLITS]  # those that most have
    else:
        return False
    chosen = held_out.split_for("held_out", there)
    return chosen == train.split_for("train", there) and bool(there) == (chosen is not None)


def _saved_splits(path: pathlib.Path) -> list[str]:
    """The splits of a data set in a folder; none of a file, or a data set without splits."""
    try:
        return [*map(str, json.loads((path / SAVED[0]).read_text(encoding="utf-8"))["splits"])]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def _is_on_hub(name: str) -> bool:
    """Whether it can only be a name of the hub: a folder of this machine may not begin like it."""
    return bool(_ON_HUB.fullmatch(name)) and not name.endswith(SUFFIXES) and not pathlib.Path(name).parent.exists()


def _stem(name: str) -> str:
    while name.endswith(SUFFIXES) and not name.startswith("."):
        name = name.rpartition(".")[0]
    return name


def _folder(path: pathlib.Path) -> str:
    """What is wrong with a folder that holds no saved data set."""
    inside = sorted(file.name for file in path.iterdir() if file.name.endswith(SUFFIXES))
    what = f"is a folder, with {', '.join(inside[:MOST_NAMED])}" if inside else "is a folder"
    more = f" and {len(inside) - MOST_NAMED} more" if len(inside) > MOST_NAMED else ""
    return f"{what}{more}: name its files, or a folder that `save_to_disk` of Hugging Face's datasets wrote"


def _instead_of_file(path: pathlib.Path) -> str:
    """What is at a path that is not a file, with the files that may be meant."""
    remedy = "give a file of problems (jsonl, json, csv, tsv, parquet), or a data set of the hub as OWNER/NAME"
    if path.is_dir():
        return _folder(path)
    if path.exists():
        return f"is no regular file: {remedy}"
    if _ADDRESS.match(str(path)):
        return "is an address, which is not fetched: download it first"
    if parts := several_in_one([str(path).strip("[]()")]):
        return f"does not exist; several sources have blanks between them: {' '.join(parts)}"
    if glob.has_magic(str(path)) and glob.glob(str(path)):
        return "does not exist; a shell fills in * and ? where there is a blank before the name, not a ="
    beside = [file.name for file in path.parent.iterdir() if file.is_file()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.8)
    return f"does not exist; did you mean {path.parent / near[0]}?" if near else f"does not exist: {remedy}"

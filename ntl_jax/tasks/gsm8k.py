# SPDX-License-Identifier: Apache-2.0
"""Files in GSM8K's format: a JSON object per line with ``question`` and ``answer``; ``answer`` ends in ``#### N``.

With the user's own reward function, N may be any text, such as ``Paris``. Rows end only at a line feed: the texts
contain other characters that Unicode counts as line ends.
"""

import difflib
import json
import os
import pathlib
import re
from typing import Literal

from ntl_jax.config import from_home, named
from ntl_jax.data import Problem
from ntl_jax.data.file_kind import other_kind
from ntl_jax.data.problems import check_faults
from ntl_jax.numerals import Answer, find_answer, find_text_answer
from ntl_jax.tasks.task import Split, Task

_NUMBER = re.compile(r"[-+]?\$?([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.[0-9]+)?%?|[-+]?[0-9]+/0*[1-9][0-9]*")

MOST_NAMED = 5
"""How many files of a folder an error names."""
LONGEST_NUMBER = 300
"""Characters of an answer: float64 reaches to 308 digits."""
OnBadRow = Literal["error", "skip"]
_SETTINGS: dict[Split, str] = {"train": "data.train", "held_out": "data.eval"}


class Gsm8k(Task):
    """Problems of jsonl files, which are read at once: a wrong file is found before anything else is made.

    Args:
        train, held_out: files of the splits; None for a split that is not loaded.
        on_bad_row: see `load_gsm8k`.
        numeric: whether references and answers must be numbers. If not, they may be texts; numbers are still compared
            as numbers.

    Raises:
        ValueError: naming the setting, if a file is not usable; as in `load_gsm8k`.

    Example:
        >>> task = Gsm8k(None, None, numeric=False)
        >>> answer = task.answer_of("It lies on the Seine.\\n#### Paris")
        >>> answer.text, task.is_correct(answer, "Paris"), task.is_correct(task.answer_of("#### 72.0"), "72")
        ('Paris', True, True)
    """

    def __init__(
        self,
        train: str | os.PathLike[str] | None,
        held_out: str | os.PathLike[str] | None,
        *,
        on_bad_row: OnBadRow = "error",
        numeric: bool = True,
    ):
        self._numeric = numeric
        given: dict[Split, str | os.PathLike[str] | None] = {"train": train, "held_out": held_out}
        self._loaded: dict[Split, tuple[list[Problem], int]] = {}
        for split, path in given.items():
            if path is not None:
                with named(_SETTINGS[split], str(path)):
                    self._loaded[split] = load_gsm8k(path, on_bad_row=on_bad_row, numeric=numeric)

    def load(self, split: Split) -> tuple[list[Problem], int]:
        if split not in self._loaded:
            raise ValueError(f"no file of the {split} split is given: set {_SETTINGS[split]} to a jsonl file")
        return self._loaded[split]

    def answer_of(self, text: str) -> Answer | None:
        return find_answer(text, self.markers) if self._numeric else find_text_answer(text, self.markers)


def load_gsm8k(
    path: str | os.PathLike[str], *, on_bad_row: OnBadRow = "error", numeric: bool = True
) -> tuple[list[Problem], int]:
    """Reads the problems of a jsonl file in GSM8K's format.

    Args:
        path: the file (``~`` stands for the home folder). Blank lines are skipped; keys other than ``question`` and
            ``answer`` are ignored.
        on_bad_row: whether malformed rows raise one error that names them, or are left out and counted.
        numeric: whether a row is malformed if its answer after ``####`` is not a number.

    Returns:
        The problems, with line numbers (from 0) as indices, and the number of rows left out.

    Raises:
        ValueError: if the file cannot be read, holds something else or has no good row; for bad rows, naming file, line
            and fault.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     _ = file.write('{"question": "2+3?", "answer": "2+3=5.\\\\n#### 5"}\\n')
        ...     file.flush()
        ...     problems, skipped = load_gsm8k(file.name)
        >>> problems[0].ground_truth, skipped
        ('5', 0)
    """
    file = from_home(str(path))
    if not file.is_file():
        raise ValueError(f"{path} {_instead_of_file(file)}: give a jsonl file whose rows hold `question` and `answer`")
    content = file.read_bytes()
    if kind := other_kind(content):
        raise ValueError(f"{path} {kind}; it must hold one JSON object a line, with `question` and `answer`")
    problems, faults = [], []
    for i, line in enumerate(content.split(b"\n")):
        if not line.strip():
            continue
        row = _parse(line, i, numeric=numeric)
        if isinstance(row, Problem):
            problems.append(row)
        else:
            faults.append((f"{file}:{i + 1}", row))
    check_faults(faults, len(problems), on_bad_row)
    if not problems:
        raise ValueError(f"{path} is empty: it must hold one JSON object a line, with `question` and `answer`")
    return problems, len(faults)


def _instead_of_file(path: pathlib.Path) -> str:
    """What is at a path that is not a file, with the files that may be meant."""
    if path.is_dir():
        inside = sorted(file.name for file in path.glob("*.json*"))
        return f"is a folder, with {', '.join(inside[:MOST_NAMED])}" if inside else "is a folder"
    if path.exists():
        return "is no regular file"
    if re.match(r"[a-z][a-z0-9]+:/", str(path)):
        return "is an address, which is not fetched: download it first"
    beside = [file.name for file in path.parent.iterdir() if file.is_file()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.8)
    return f"does not exist; did you mean {path.parent / near[0]}?" if near else "does not exist"


def _parse(line: bytes, index: int, *, numeric: bool) -> Problem | str:
    """The problem in a row, or what is wrong with the row."""
    try:
        row = json.loads(line)
    except UnicodeDecodeError as error:
        return f"not UTF-8: {error.reason} at byte {error.start}"
    except (ValueError, RecursionError) as error:
        return f"bad JSON: {error}"
    if not isinstance(row, dict):
        return f"must be a JSON object, is {_json_type(row)}"
    for key in ("question", "answer"):
        if key not in row:
            return f"no `{key}`, only {', '.join(f'`{name}`' for name in row) or 'an empty object'}"
        if not isinstance(row[key], str):
            return f"`{key}` must be a string, is {_json_type(row[key])}"
        if not row[key].isprintable() and any("\ud800" <= c <= "\udfff" for c in row[key]):
            return f"`{key}` holds half a surrogate pair, which is not a character"
    question, solution = row["question"], row["answer"].rstrip()
    if not question.strip():
        return "`question` is empty"
    *_, last = solution.split("\n")
    if "####" not in solution:
        return "`answer` has no line `#### N`"
    if not last.startswith("####"):
        return f"`answer` must end in a line `#### N`, ends in {last!r}"
    truth = last.removeprefix("####").strip()
    if numeric and not _NUMBER.fullmatch(truth):
        return f"the answer after #### must be a number, is {truth!r}; texts need a reward.function of your own"
    if numeric and len(truth) > LONGEST_NUMBER:
        return f"the answer after #### has {len(truth):,} characters; a number may have {LONGEST_NUMBER}"
    if not truth:
        return "there is no answer after ####"
    return Problem(index, question, solution, truth, "gsm8k")


def _json_type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"

# SPDX-License-Identifier: Apache-2.0
"""Reads divergence logs: files of one JSON object a line, also packed with gzip, and the run folders that hold them."""

import codecs
import dataclasses
import gzip
import json
import pathlib
import re
import zlib
from collections.abc import Iterator, Sequence

from ntl_jax.config import CONFIG_FILE
from ntl_jax.metrics.divergence.log import written_files
from ntl_jax.metrics.divergence.questions.token import REQUIRED, DivergentToken, read_token

LOG_FILE = "divergence.jsonl"
"""In a run folder, unless divergence.path says otherwise."""
GZIP = b"\x1f\x8b"
"""How files that are packed with gzip begin."""
MOST_BYTES = 2**26
"""Of a line; a file of another kind may be one line of many gigabytes."""
_BLANK = b"\0 \t\r\n"
"""Of a line without contents; zeros are what a power failure leaves."""
GZIP_ENDING = r"(\.gz)?"
_PART = re.compile(rf"\.([0-9]+){GZIP_ENDING}$")


class _OtherKindError(ValueError):
    """The line is none of a divergence log."""


class _NotJsonError(_OtherKindError):
    """The line is not JSON, perhaps because only its beginning was written."""


@dataclasses.dataclass(frozen=True)
class Log:
    """What was read.

    Args:
        files: in the order of reading.
        tokens: one per line.
        torn: files whose last line is incomplete, and left out.
    """

    files: tuple[pathlib.Path, ...]
    tokens: tuple[DivergentToken, ...]
    torn: tuple[pathlib.Path, ...]


def log_files(place: pathlib.Path) -> list[pathlib.Path]:
    """The files that a log, or a run folder, stands for; of a rotated log, the oldest part first.

    Raises:
        ValueError: if there is none.

    Example:
        >>> import tempfile
        >>> run = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("divergence.jsonl", "divergence.jsonl.1", "divergence.jsonl.2"):
        ...     (run / name).touch()
        >>> [file.name for file in log_files(run)]
        ['divergence.jsonl.2', 'divergence.jsonl.1', 'divergence.jsonl']
    """
    try:
        is_file, is_there = place.is_file(), place.exists()
    except OSError as error:
        raise ValueError(f"{place} cannot be read ({error.strerror}): give another log or run folder") from error
    if is_file:
        return [place]
    if not is_there:
        raise ValueError(f"there is no {place}: give a divergence log, or a run folder that holds one")
    if not place.is_dir():
        raise ValueError(f"{place} is neither a file nor a folder: write the log to a file, and give that")
    name = _name_in(place)
    found = written_files(place / name, GZIP_ENDING)
    if not found:
        raise ValueError(
            f"{place} holds no {name}: it is no run folder, or divergence.enabled is off, or no token has reached "
            "divergence.threshold yet; if its log lies elsewhere, give that file"
        )
    return sorted(found, key=_age)


def read_log(files: Sequence[pathlib.Path]) -> Log:
    """Reads logs of any number of files as one.

    An incomplete last line of a file is left out: the run is writing it, or has ended while it did.

    Raises:
        ValueError: for a line that cannot be read, with its file and number; for a file that cannot be read, or is
            given twice; without any line.

    Example:
        >>> import tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "divergence.jsonl"
        >>> _ = file.write_text('{"prob_divergence": 0.9, "position": 3}\\n{"prob_diver')
        >>> log = read_log([file])
        >>> [token.position for token in log.tokens], [file.name for file in log.torn]
        ([3], ['divergence.jsonl'])
    """
    twice = [file for i, file in enumerate(files) if file.resolve() in [other.resolve() for other in files[:i]]]
    if twice:
        raise ValueError(f"{twice[0]} is given twice: give it once")
    tokens, torn = [], []
    for file in files:
        is_log = False
        for number, line in _lines(file):
            try:
                tokens.append(_parse(line))
            except _NotJsonError as error:
                if not line.startswith(b"{") or line.endswith(b"\n"):
                    raise _named(file, number, error, is_log=is_log) from error
                torn.append(file)
            except ValueError as error:
                raise _named(file, number, error, is_log=is_log) from error
            is_log = True
    if not tokens:
        raise ValueError(
            f"no divergence lines in {', '.join(map(str, files))}: no token has reached divergence.threshold in the "
            "iterations that were compared (divergence.every); the largest difference of each is "
            "training/rollout_probs_diff_max in metrics.jsonl, and a lower threshold logs smaller ones"
        )
    return Log(tuple(files), tuple(tokens), tuple(torn))


def _name_in(folder: pathlib.Path) -> str:
    """The log's path in the folder: divergence.path of the run that the folder holds, if it holds one."""
    try:
        path = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["divergence"]["path"]
        return path if isinstance(path, str) and path else LOG_FILE
    except (OSError, ValueError, KeyError, TypeError):
        return LOG_FILE


def _age(file: pathlib.Path) -> tuple[list[str], int]:
    """For sorting: numbers in names count as numbers, and the higher the number of a rotated part, the older it is."""
    part = _PART.search(file.name)
    name = str(file)[: part and part.start() - len(file.name)].removesuffix(".gz")
    words = [word.zfill(20) if word.isdigit() else word for word in re.split(r"([0-9]+)", name)]
    return words, -int(part[1]) if part else 0


def _lines(file: pathlib.Path) -> Iterator[tuple[int, bytes]]:
    """Numbers and contents of the lines that are not blank."""
    try:
        with file.open("rb") as plain:
            packed = plain.peek(len(GZIP)).startswith(GZIP)
            source = gzip.GzipFile(fileobj=plain) if packed else plain
            for number, line in enumerate(iter(lambda: source.readline(MOST_BYTES), b""), 1):
                if line.strip(_BLANK):
                    yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{file} is packed with gzip and damaged ({error}): copy or pack it again") from error
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror}): change its permissions, or copy it") from error


def _parse(line: bytes) -> DivergentToken:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _NotJsonError("it is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        kind = _OtherKindError if error.msg == "Extra data" else _NotJsonError  # a beginning has nothing after it
        raise kind(f"it is not JSON ({error.msg} at column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise _OtherKindError(f"it is not JSON that can be read ({error})") from error
    if not isinstance(row, dict):
        raise _OtherKindError("it is no JSON object")
    if missing := [key for key in REQUIRED if key not in row]:
        raise _OtherKindError(f"it has no {' and no '.join(missing)}")
    return read_token(row)


def _named(file: pathlib.Path, number: int, error: ValueError, *, is_log: bool) -> ValueError:
    """The error with its place, and what to do."""
    if is_log or not isinstance(error, _OtherKindError):
        return ValueError(f"{file}:{number}: {error}: fix or remove the line")
    return ValueError(
        f"{file} is no divergence log, which is one JSON object a line; line {number}: {error}; give a run folder or "
        f"the {LOG_FILE} in it"
    )

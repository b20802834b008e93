# SPDX-License-Identifier: Apache-2.0
"""Writers of a run folder's ``metrics.jsonl`` and ``reward_errors.jsonl``.

Each line is one JSON object, flushed as soon as it is written.

Every line starts with ``stage`` and ``step``, in the order of the run. Floats are written so that reading them gives
the same bits. JSON has no NaN and no infinity: such values are written as null.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, Self

from numpy.typing import ArrayLike

from ntl_jax.metrics import names
from ntl_jax.metrics.atomic_files import as_line, as_plain


class _LineWriter:
    """Appends to a JSON-lines file, and truncates it when a run resumes; subclasses define a line's contents."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._file = path.open("ab")

    def truncate_after(self, stage: str, step: int) -> None:
        """Removes the lines after a checkpoint, and an incomplete last line: a resumed run writes them again.

        Raises:
            ValueError: naming file and line of a line that cannot be read.
        """
        kept_bytes = 0
        for number, line in enumerate(self._path.read_bytes().splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                break
            row = _parse(self._path, number, line)
            if (names.STAGES.index(row["stage"]), row["step"]) > (names.STAGES.index(stage), step):
                break
            kept_bytes += len(line)
        self._file.truncate(kept_bytes)

    def _append(self, stage: str, step: int, row: Mapping[str, object]) -> None:
        assert stage in names.STAGES, stage
        line = {"stage": stage, "step": int(step)} | {name: as_plain(value) for name, value in row.items()}
        self._file.write(as_line(line).encode())
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class MetricWriter(_LineWriter):
    """Appends to ``metrics.jsonl`` of a run folder.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with MetricWriter(folder) as writer:
        ...     writer.write("ppo", 3, {"val/accuracy": 0.5, "ntl/loss": float("nan")})
        >>> print((folder / "metrics.jsonl").read_text().strip())
        {"stage": "ppo", "step": 3, "val/accuracy": 0.5, "ntl/loss": null}
    """

    def __init__(self, run_folder: pathlib.Path) -> None:
        super().__init__(run_folder / "metrics.jsonl")

    def write(self, stage: str, step: int, metrics: Mapping[str, ArrayLike]) -> None:
        """Writes one line.

        Args:
            stage: ``warm_start`` or ``ppo``.
            step: updates (warm start) or iterations (PPO) done.
            metrics: numbers or scalar arrays by name; the names must be in the table of ``metrics.names``.
        """
        for name in metrics:
            names.meaning(name)
        self._append(stage, step, metrics)


class RewardErrorWriter(_LineWriter):
    """Appends to ``reward_errors.jsonl`` of a run folder, which stays empty if every sample has a reward.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with RewardErrorWriter(folder) as writer:
        ...     writer.write("ppo", 3, 17, "score nan: not finite in float32")
        >>> json.loads((folder / "reward_errors.jsonl").read_text())["prompt"]
        17
    """

    def __init__(self, run_folder: pathlib.Path) -> None:
        super().__init__(run_folder / "reward_errors.jsonl")

    def write(self, stage: str, step: int, prompt: int, error: str) -> None:
        """Writes one line: the prompt's index, and why the sample has no reward."""
        self._append(stage, step, {"prompt": prompt, "error": error})


def read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """The complete lines of a JSON-lines file; an incomplete last line, without newline, is left out.

    Raises:
        ValueError: naming file and line of the first line that is not a JSON object with ``stage`` and ``step``.

    Example:
        >>> import tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "metrics.jsonl"
        >>> _ = path.write_text('{"stage": "ppo", "step": 1}\\n{"stage": "ppo", "st')
        >>> read_lines(path)
        [{'stage': 'ppo', 'step': 1}]
    """
    complete, _, _torn = path.read_bytes().rpartition(b"\n")
    return [_parse(path, number, line) for number, line in enumerate(complete.splitlines(), 1)]


def _parse(path: pathlib.Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}:{number}: not JSON ({error}): fix or remove the line") from error
    if not isinstance(row, dict) or row.get("stage") not in names.STAGES or not isinstance(row.get("step"), int):
        raise ValueError(f"{path}:{number}: no stage of {names.STAGES} and integer step: remove the line")
    return row

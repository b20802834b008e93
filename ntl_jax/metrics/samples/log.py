# SPDX-License-Identifier: Apache-2.0
"""Writes ``samples.jsonl.gz`` of a run folder in a thread of its own.

The file is a sequence of gzip members, one per iteration, each with one JSON object per prompt and line; ``zcat`` and
``gzip.open`` read it as one file. A run that dies loses what waits to be written, and may leave a torn last member.
"""

import contextlib
import errno
import gzip
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Self

from ntl_jax.ending import warn
from ntl_jax.metrics import names
from ntl_jax.metrics.atomic_files import as_line
from ntl_jax.metrics.samples.group import LoggedGroup
from ntl_jax.metrics.samples.members import read_members

SAMPLES_FILE = "samples.jsonl.gz"
MOST_WAITING = 16
"""Iterations whose samples may wait for the disk; those of later ones are left out, and the run goes on."""
LONGEST_WAIT_S = 60.0
COMPRESSION = 6


class SampleLog:
    """Appends the samples of iterations; a context manager.

    What it cannot write, it warns about and leaves out: it never ends a run.

    Args:
        folder: the run folder.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with SampleLog(folder) as log:
        ...     log.write("ppo", 3, lambda: [LoggedGroup(7, 7, "2+3?", "5", [])])
        >>> print(gzip.open(folder / SAMPLES_FILE, "rt").read().strip())
        {"stage": "ppo", "step": 3, "prompt_index": 7, "draw": 7, "prompt": "2+3?", "ground_truth": "5", "samples": []}
    """

    def __init__(self, folder: pathlib.Path):
        self._path = folder / SAMPLES_FILE
        self._path.touch()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="samples")
        self._waiting: list[Future[None]] = []
        self._has_warned = False
        self.seconds = 0.0
        """Processor time that the thread has taken."""

    def write(self, stage: str, step: int, groups: Callable[[], Sequence[LoggedGroup]]) -> None:
        """Appends the samples of a step, later.

        Args:
            stage: of the run.
            step: of the stage.
            groups: returns the prompts with their samples; called in the thread.
        """
        assert stage in names.STAGES, stage
        self._settle()
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(self._thread.submit(self._append, stage, step, groups))
        else:
            self._warn(f"the samples of {MOST_WAITING} steps wait to be written; those of step {step} are left out")

    def flush(self) -> None:
        """Waits until everything is written, or for as long as a disk may hang."""
        wait(self._waiting, LONGEST_WAIT_S)
        self._settle()

    def truncate_after(self, stage: str, step: int) -> None:
        """Removes the members after a step, and a damaged end: a resumed run writes them again."""
        self.flush()
        kept_bytes = 0
        for member in read_members(self._path):
            if (names.STAGES.index(member.stage), member.step) > (names.STAGES.index(stage), step):
                break
            kept_bytes = member.end
        os.truncate(self._path, kept_bytes)

    def _append(self, stage: str, step: int, groups: Callable[[], Sequence[LoggedGroup]]) -> None:
        start = time.thread_time()
        lines = "".join(as_line(group.as_row(stage, step)) for group in groups())
        member = gzip.compress(lines.encode(), COMPRESSION, mtime=0)
        with self._path.open("ab", buffering=0) as file:
            end = file.tell()
            try:
                if file.write(member) < len(member):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(end)
                raise
        self.seconds += time.thread_time() - start

    def _settle(self) -> None:
        """Warns of what could not be written."""
        done = [future for future in self._waiting if future.done()]
        self._waiting = [future for future in self._waiting if not future.done()]
        for error in (future.exception() for future in done):
            if isinstance(error, OSError):
                self._warn(f"samples cannot be written to {self._path} ({error})")
            elif error is not None:
                raise error

    def _warn(self, text: str) -> None:
        """Warns once in a run."""
        if not self._has_warned:
            warn(f"{text}; the run goes on without them")
        self._has_warned = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        self._thread.shutdown(wait=False, cancel_futures=True)

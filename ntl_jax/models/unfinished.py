# SPDX-License-Identifier: Apache-2.0
"""Folders that are filled beside the place where they will be, and removed if the process ends before."""

import contextlib
import fcntl
import glob
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

MARK = "unfinished"
"""In the names of these folders, so that no folder of the user's is taken for one."""


@contextlib.contextmanager
def unfinished(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A new folder beside another, to fill and to move what it holds there; removed at the end of the context.

    A process that is killed leaves its own behind; the next one with the same target removes it.

    Args:
        folder: the target; the folder that it is in is created.

    Raises:
        OSError: if that cannot be written.

    Example:
        >>> target = pathlib.Path(tempfile.mkdtemp()) / "model"
        >>> with unfinished(target) as temporary:
        ...     (temporary / "made").mkdir()
        ...     _ = (temporary / "made").rename(target)
        >>> [path.name for path in target.parent.iterdir()]
        ['model']
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for path in folder.parent.glob(f".{glob.escape(folder.name)}-{MARK}-*"):
        _remove_if_left(path)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-{MARK}-") as temporary:
        lock = os.open(temporary, os.O_RDONLY)  # the process's end, however it ends, gives it back
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield pathlib.Path(temporary)
        finally:
            os.close(lock)


def _remove_if_left(path: pathlib.Path) -> None:
    """Removes a folder that no process holds."""
    with contextlib.suppress(OSError):
        lock = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)

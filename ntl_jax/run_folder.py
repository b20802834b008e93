# SPDX-License-Identifier: Apache-2.0
"""A run folder belongs to one process at a time."""

import contextlib
import datetime
import errno
import fcntl
import os
import pathlib
import secrets
import socket
import time
from collections.abc import Iterator

from ntl_jax.config import CONFIG_FILE, EMPTY
from ntl_jax.ending import is_traceback

LOCK = ".lock"
"""File in a run folder while the folder is in use; it names the process."""
PROBE_S = 0.1
"""Longer than `is_claimed` holds a lock."""
WITHOUT_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
"""Errors of file systems that have no locks: a run there goes without."""


class InUseError(ValueError):
    """Another process writes to the run folder."""


class HoldsRunError(ValueError):
    """The run folder holds another run."""


def new_folder(name: str) -> pathlib.Path:
    """A new path for a command's output, ``runs/NAME-TIME-SUFFIX``; the folder is not created.

    Args:
        name: of the run or the evaluation.

    Example:
        >>> new_folder("mine") == new_folder("mine")
        False
    """
    return pathlib.Path("runs") / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def check_free(folder: pathlib.Path) -> None:
    """Raises unless a new run can write to the folder.

    Raises:
        HoldsRunError: if it already holds a run.
        ValueError: if it is a file, or holds files that no run has written.
    """
    if os.path.exists(folder / CONFIG_FILE):
        raise HoldsRunError(f"--workdir={folder} already holds a run: add --resume, or name another folder")
    if not str(folder).strip():
        raise ValueError(f"--workdir {EMPTY}")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--workdir={folder} is a file: name a new or an empty folder")
    foreign = sorted(path.name for path in folder.glob("*") if not is_traceback(path.name) and path.name[0] != ".")
    if foreign:
        raise ValueError(f"--workdir={folder} holds {foreign[0]!r} and is no run folder: name a new or an empty folder")


@contextlib.contextmanager
def claimed(folder: pathlib.Path, *, resume: bool = False) -> Iterator[None]:
    """Within this context the folder exists, and no other process gets it.

    On exit, a folder that this call created is removed if it is empty. The claim ends with the process, however that
    ends.

    Args:
        folder: the run folder.
        resume: whether it may hold a run.

    Raises:
        InUseError: if another process has claimed it.
        HoldsRunError: if it holds a run that is not resumed.
        ValueError: if it cannot be made or written.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp()) / "mine"
        >>> with claimed(folder), claimed(folder):
        ...     pass
        Traceback (most recent call last):
        ...
        ntl_jax.run_folder.InUseError: ... is in use by process ...
    """
    made = not os.path.exists(folder)  # a Path asks with an error where it may not look
    try:
        lock = _locked(folder / LOCK)
    except OSError as error:
        raise ValueError(
            f"the run folder {folder} cannot be made or written ({error.strerror}): name another with --workdir=DIR, "
            "or change its owner or permissions"
        ) from error
    try:
        if not resume:
            check_free(folder)
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink()
            if made:
                folder.rmdir()
        os.close(lock)


def is_claimed(folder: pathlib.Path) -> bool:
    """Whether a process has claimed the folder.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with claimed(folder):
        ...     is_claimed(folder)
        True
        >>> is_claimed(folder)
        False
    """
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in WITHOUT_LOCKS
    finally:
        os.close(lock)
    return False


def _locked(path: pathlib.Path) -> int:
    """Descriptor of the locked file, which names this process; its folder is made."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            if path.parent.exists():
                raise
            continue  # a process that ends has just removed the folder
        try:
            _lock(lock)
        except BlockingIOError:
            holder = os.read(lock, 200).decode(errors="replace") or "another process"
            os.close(lock)
            raise InUseError(
                f"{path.parent} is in use by {holder}: wait until it ends, or end it (it saves its step at SIGTERM), "
                "or name another folder with --workdir=DIR"
            ) from None
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                os.close(lock)
                raise
        if _is_at(path, lock):
            break
        os.close(lock)  # its holder has just removed it
    try:
        os.truncate(lock, 0)
        os.write(lock, f"process {os.getpid()} on {socket.gethostname()}".encode())
    except OSError:
        os.close(lock)
        raise
    return lock


def _is_at(path: pathlib.Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> None:
    """Locks an open file; raises a BlockingIOError if another process keeps its lock, which `is_claimed` does not."""
    for pause in (PROBE_S, 0.0):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not pause:
                raise
            time.sleep(pause)

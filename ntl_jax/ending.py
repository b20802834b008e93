# SPDX-License-Identifier: Apache-2.0
"""How a command ends before it is done: by a signal, or by an error that it explains. Loads nothing."""

import contextlib
import errno
import os
import pathlib
import signal
import stat
import sys
import traceback

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a process to end."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_SPACE_TEXTS = tuple(os.strerror(number) for number in NO_SPACE)
"""As in the messages of libraries that write files themselves."""
TRACEBACK_FILE = "error.txt"


def end_at_signals() -> None:
    """From now on SIGINT, SIGTERM and SIGHUP end the process at once, in one line, with exit code 128 + signal.

    An exception would not do: imports, callbacks and destructors swallow it, and threads are waited for. A signal that
    is ignored, as by nohup, stays ignored.
    """

    def end(number: int, _: object) -> None:
        if number == signal.SIGHUP:
            leave_terminal()
        tell(f"ended by {signal.Signals(number).name}")
        os._exit(128 + number)

    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


def leave_terminal() -> None:
    """After SIGHUP, when writing to the terminal would fail: what is written to it goes nowhere."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


def tell(line: str) -> None:
    """Writes a line to standard error from a signal's handler: past Python's buffers, which it may have interrupted."""
    with contextlib.suppress(OSError):
        os.write(2, f"\n{line}\n".encode())


def explain(error: BaseException, folder: pathlib.Path, remedy: str) -> str:
    """The error's message; if there is no space left on a disk, this first, and what to do.

    Args:
        error: what ended the command.
        folder: where it writes.
        remedy: what to do when there is space again.

    Example:
        >>> explain(OSError(errno.ENOSPC, "No space left on device"), pathlib.Path("runs"), "start again")
        'no space left for runs ([Errno 28] No space left on device): free some (df -h shows where), then start again'
    """
    if not _is_no_space(error):
        return str(error)
    return f"no space left for {folder} ({error}): free some (df -h shows where), then {remedy}"


def leave(message: str, *, code: int) -> int:
    """Prints the message to standard error, if that can be written; returns the exit code."""
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)
    return code


def warn(line: str) -> None:
    """Prints a line to standard error, if that can be written."""
    leave(f"warning: {line}", code=0)


def keep_traceback(folder: pathlib.Path) -> None:
    """Writes the traceback of the current exception to a folder that exists, and prints where; or why it cannot."""
    path = folder / TRACEBACK_FILE
    if not os.path.isdir(folder):  # a Path asks with an error where it may not look
        return
    with contextlib.suppress(OSError):
        try:
            path.write_text(traceback.format_exc(), encoding="utf-8")
            print(f"traceback: {path}", file=sys.stderr, flush=True)
        except OSError as error:
            print(f"no traceback: {path} cannot be written ({error.strerror})", file=sys.stderr, flush=True)


def _is_no_space(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            return True
        if any(text in str(error) for text in NO_SPACE_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False

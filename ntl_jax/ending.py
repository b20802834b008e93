# SPDX-License-Identifier: Apache-2.0
"""How a command ends before it is done: by a signal, or by an error that it explains. Loads nothing heavy."""

import contextlib
import errno
import os
import pathlib
import re
import signal
import stat
import sys
import threading
import traceback

from ntl_jax.config.escapes import printable

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a process to end."""
NO_SPACE, TOO_LARGE = (errno.ENOSPC, errno.EDQUOT), (errno.EFBIG,)
TRACEBACK_FILE, OF_PROCESS = "error.txt", "error-{}.txt"


def end_at_signals() -> None:
    """From now on SIGINT, SIGTERM and SIGHUP end the process at once, in one line, with exit code 128 + signal.

    An exception would not do: imports, callbacks and destructors swallow it, and threads are waited for. Nor would the
    handler alone: Python calls it when the main thread is back from native code, which a compilation keeps for minutes
    and a collective that hangs for ever. So a thread is told of signals too. Where another handler is in place, the
    thread leaves it the first signal and ends the process at the second. A signal that is ignored, as by nohup, stays
    ignored.
    """
    once = threading.RLock()  # whoever is first says it; the handler may interrupt itself

    def end(number: int, _: object = None) -> None:
        with once:
            if number == signal.SIGHUP:
                leave_terminal()
            tell(f"ended by {signal.Signals(number).name}")
            os._exit(128 + number)

    def watch() -> None:
        numbers = iter(lambda: os.read(told, 1)[0], None)
        for count, number in enumerate(number for number in numbers if number in SIGNALS):
            if count or signal.getsignal(number) is end:
                end(number)

    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)
    told, tells = os.pipe()
    os.set_blocking(tells, False)
    signal.set_wakeup_fd(tells, warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True).start()


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
    """The error's message; if a disk is full or a file would be too large, this first, and what to do.

    Args:
        error: what ended the command.
        folder: where it writes.
        remedy: what to do when that is mended.

    Example:
        >>> explain(OSError(errno.ENOSPC, "No space left on device"), pathlib.Path("runs"), "start again")
        'no space left for runs ([Errno 28] No space left on device): free some (df -h shows where), then start again'
    """
    if _is_of(error, NO_SPACE):
        return f"no space left for {folder} ({error}): free some (df -h shows where), then {remedy}"
    if _is_of(error, TOO_LARGE):
        return (
            f"a file in {folder} would be larger than allowed ({error}): raise the limit (ulimit -f), or use a file "
            f"system with larger files, then {remedy}"
        )
    return str(error)


def leave(message: str, *, code: int) -> int:
    """Prints the message to standard error, if that can be written; returns the exit code.

    Args:
        message: any text; what would upset a terminal is shown as escapes.
        code: to return.
    """
    with contextlib.suppress(OSError):
        print(printable(message), file=sys.stderr, flush=True)
    return code


def warn(line: str) -> None:
    """Prints a line to standard error, if that can be written."""
    leave(f"warning: {line}", code=0)


def keep_traceback(folder: pathlib.Path, error: BaseException, process: int = 0) -> None:
    """Writes an error's traceback to a folder that is ours, and prints where; or why it cannot.

    A folder in which nothing is written yet stays empty if the error comes from this package: its message says it all.

    Args:
        folder: the run folder.
        error: what ended the command.
        process: number of this one among those that train together, from 0; others than the first have a file each.
    """
    path = folder / (OF_PROCESS.format(process + 1) if process else TRACEBACK_FILE)
    try:
        is_begun = any(not name.startswith(".") for name in os.listdir(folder))
        if is_begun or not _is_ours(error):
            path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
            leave(f"traceback: {path}", code=0)
    except OSError as failed:
        leave(f"no traceback: {path} cannot be written ({failed.strerror})", code=0)


def is_traceback(name: str) -> bool:
    """Whether a file of this name is a traceback that `keep_traceback` wrote.

    Example:
        >>> is_traceback("error.txt"), is_traceback("error-2.txt"), is_traceback("errors.txt")
        (True, True, False)
    """
    return name == TRACEBACK_FILE or bool(re.fullmatch(OF_PROCESS.format(r"\d+"), name))


def remove_tracebacks(folder: pathlib.Path) -> None:
    """Removes the tracebacks of all processes, as far as that can be done."""
    with contextlib.suppress(OSError):
        for name in filter(is_traceback, os.listdir(folder)):
            (folder / name).unlink()


def _is_ours(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return not frames or pathlib.Path(frames[-1].filename).is_relative_to(pathlib.Path(__file__).parent)


def _is_of(error: BaseException | None, numbers: tuple[int, ...]) -> bool:
    """Whether an error, or what caused it, is of these numbers of the system, or says so in a library's words."""
    texts = tuple(os.strerror(number) for number in numbers)
    while error is not None:
        if isinstance(error, OSError) and error.errno in numbers:
            return True
        if any(text in str(error) for text in texts):
            return True
        error = error.__cause__ or error.__context__
    return False

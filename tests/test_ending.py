# SPDX-License-Identifier: Apache-2.0
"""A command that ends early says why in a line, whatever state the disk and the terminal are in."""

import errno
import os
import pathlib
import subprocess
import sys

import pytest

from ntl_jax.ending import explain, keep_traceback, leave
from ntl_jax.run_folder import check_free

ROOT = pathlib.Path(__file__).parents[1]
ENDS = """
import os, signal, sys
from ntl_jax.ending import end_at_signals
end_at_signals()
class Swallowed:
    def __del__(self):
        signal.raise_signal(getattr(signal, sys.argv[1]))
Swallowed()
print("went on")
"""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_the_process_in_one_line_even_where_exceptions_are_swallowed(name, code):
    ended = run(ENDS, name)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", f"\nended by {name}\n")


def test_a_signal_that_was_ignored_stays_ignored():
    ended = run(f"import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n{ENDS}", "SIGHUP")
    assert (ended.returncode, ended.stdout) == (0, "went on\n")


STUCK = """
import ctypes, os, signal, sys, threading, time
from ntl_jax.ending import SIGNALS, end_at_signals
end_at_signals()
if sys.argv[1] == "2":
    signal.signal(signal.SIGTERM, lambda *_: None)
signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the main thread is in native code, which no signal interrupts
def kill():
    for _ in range(int(sys.argv[1])):
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=kill, daemon=True).start()
ctypes.CDLL(None).sleep(20)
"""


@pytest.mark.parametrize("signals", [1, 2], ids=["the first, where nothing else handles it", "else the second"])
def test_a_signal_ends_the_process_while_its_main_thread_is_stuck_in_native_code(signals):
    ended = run(STUCK, str(signals))
    assert (ended.returncode, ended.stderr) == (143, "\nended by SIGTERM\n")


def test_a_signal_of_another_kind_is_not_counted_as_a_first_one():
    script = """
import os, signal, time
from ntl_jax.ending import end_at_signals
end_at_signals()
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGTERM, lambda *_: print("noticed"))
for number in (signal.SIGUSR1, signal.SIGTERM):
    os.kill(os.getpid(), number)
    time.sleep(0.2)
"""
    ended = run(script)
    assert (ended.returncode, ended.stdout) == (0, "noticed\n")


def no_space(cause: BaseException | None) -> OSError:
    error = OSError("the checkpoint is not written")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        no_space(ValueError("RESOURCE_EXHAUSTED: writing failed: No space left on device [code 28]")),
    ],
)
def test_a_full_disk_is_named_first_with_the_remedy(error):
    text = explain(error, pathlib.Path("runs/mine"), "start again")
    assert text.startswith("no space left for runs/mine") and text.endswith("then start again")


def test_a_file_that_is_too_large_has_a_remedy_of_its_own():
    text = explain(no_space(OSError(errno.EFBIG, os.strerror(errno.EFBIG))), pathlib.Path("runs/mine"), "start again")
    assert "larger than allowed" in text and "ulimit -f" in text and text.endswith("then start again")


def test_other_errors_keep_their_text():
    assert explain(ValueError("seed=-1: must be at least 0"), pathlib.Path("runs"), "") == "seed=-1: must be at least 0"


@pytest.mark.parametrize("place", ["a folder", "no folder", "a file in its place", "a full disk"])
def test_keeping_a_traceback_never_fails(place, tmp_path, capsys):
    folder = tmp_path / "run"
    if place != "no folder":
        folder.mkdir()
    if place == "a file in its place":
        (folder / "error.txt").mkdir()
    if place == "a full disk":
        (folder / "error.txt").symlink_to("/dev/full")
    try:
        raise ValueError("wrong")
    except ValueError as error:
        keep_traceback(folder, error)
    shown = capsys.readouterr().err
    written = place == "a folder" and "ValueError: wrong" in (folder / "error.txt").read_text()
    expected = {
        "a folder": "traceback: ",
        "no folder": "No such file",
        "a file in its place": "Is a directory",
        "a full disk": "No space",
    }
    assert expected.get(place, "") in shown and written == (place == "a folder")


@pytest.mark.parametrize("begun", [False, True])
def test_an_error_of_this_package_leaves_an_empty_folder_empty(begun, tmp_path, capsys):
    (tmp_path / ".lock").touch()
    if begun:
        (tmp_path / "config.json").touch()
    with pytest.raises(ValueError, match="is empty") as raised:
        check_free(pathlib.Path(" "))
    keep_traceback(tmp_path, raised.value)
    assert (tmp_path / "error.txt").exists() == begun == ("traceback: " in capsys.readouterr().err)


def test_a_message_shows_no_control_characters(capsys):
    leave("error: \x1b[31mred\nnext", code=1)
    assert capsys.readouterr().err == "error: \\x1b[31mred\nnext\n"


def test_a_message_that_cannot_be_printed_does_not_hide_the_exit_code(monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert leave("error: wrong", code=3) == 3
        monkeypatch.undo()
        with pytest.raises(OSError):
            full.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())

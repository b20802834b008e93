# SPDX-License-Identifier: Apache-2.0
"""Folders that hold no run, and pages that cannot be written or served."""

import atexit
import pathlib
import socket

from tests.launch.bad_inputs.case import BadInput
from tests.logged import write_run

RUN = "{folder}/mine"
TAKEN = socket.socket()
"""Listens on a port for as long as the process lives, so that nothing else can."""
TAKEN.bind(("127.0.0.1", 0))
TAKEN.listen()
atexit.register(TAKEN.close)


def some_files(folder: pathlib.Path) -> None:
    """A run, a folder without one, and files that are no pages of this command."""
    write_run(folder / "mine")
    (folder / "empty").mkdir()
    (folder / "mine.html").write_text("<!doctype html><title>mine</title>")
    (folder / "link.html").symlink_to("nowhere.html")


def case(name: str, *says: str, options: tuple[str, ...] = (), run: str = RUN) -> BadInput:
    """A run with options."""
    return BadInput(f"report: {name}", (run, *options), says, prepare=some_files, command="report")


CASES = [
    BadInput("report: no run", (), ("RUN",), command="report"),
    case("a run without a name", "RUN is empty", run=""),
    case("no such folder", "does not exist", "launch/train.py", run="{folder}/none"),
    case("a file", "mine.html is a file", "launch/train.py", run="{folder}/mine.html"),
    case("a folder without a run", "holds no run", "launch/train.py", run="{folder}/empty"),
    case("a second folder without a run", "{folder}/empty holds no run", options=("{folder}/empty",)),
    case("a run twice", "is given twice", "give it once", options=("{folder}/empty/../mine",)),
    case("a home folder that is not there", "no home folder ~nobody-at-all", run="~nobody-at-all/run"),
    case("a folder as a page", "is a folder", "name a file", options=("--output={folder}/empty",)),
    case("a page of another kind", "must end in .html", options=("--output={folder}/page.pdf",)),
    case("a page in no folder", "is no folder", "name another", options=("--output={folder}/no/page.html",)),
    case("a page over another page", "mine.html", "name another file", options=("--output={folder}/mine.html",)),
    case("a page over a link", "link.html", "name another file", options=("--output={folder}/link.html",)),
    case("a page without a name", "--output is empty", options=("--output=",)),
    case("a page that is served", "--output has no effect with --watch", options=("--watch", "--output=a.html")),
    case("a port that nobody uses", "--port has no effect without --watch", options=("--port=8000",)),
    case("a port that is a word", "--port", "'http'", options=("--watch", "--port=http")),
    case("a port below 0", "--port=-1", "[0, 65535]", options=("--watch", "--port=-1")),
    case("a port that does not exist", "--port=99999", "[0, 65535]", options=("--watch", "--port=99999")),
    case(
        "a port in use", "cannot be used", "0 takes a free one", options=("--watch", f"--port={TAKEN.getsockname()[1]}")
    ),
    case("an unknown option", "--watch", options=("--wacth",)),
    case("no run to follow", "holds no run", run="{folder}/empty", options=("--watch", "--port=0")),
]

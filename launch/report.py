# SPDX-License-Identifier: Apache-2.0
"""Shows runs on one page: python launch/report.py RUN...

RUN is a run folder of launch/train.py: of a run that has ended, goes on, or was killed. Several are laid over one
another. Writes one HTML file, which opens in any browser without a network; every run writes its own at its end.
docs/reading_the_report.md says what to look at.
"""

from ntl_jax.ending import end_at_signals, explain, leave

if __name__ == "__main__":
    end_at_signals()  # before the other imports

import argparse
import functools
import pathlib
import sys
from collections.abc import Sequence

from ntl_jax.command_line import Once, PathOnce, announce, check_page, parse_once
from ntl_jax.config import EMPTY, from_home, printable
from ntl_jax.console import command

PAGE, COMPARISON = "report.html", "comparison.html"
"""In the folder of the first run: the page of one run, and of several."""
PORT, LAST_PORT = 8421, 65_535


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 done, 1 with a message, 2 the command line is wrong.
    """
    args = parse_once(_parser(), argv)
    try:
        show(args)
    except (ValueError, OSError) as error:
        return leave(f"error: {explain(error, pathlib.Path(args.runs[0]), 'show it again')}", code=1)
    return 0


def show(args: argparse.Namespace) -> None:
    """Writes the page of the runs, or serves it until the process is interrupted.

    Raises:
        ValueError: for folders that hold no run, a page that cannot be written, and a port that cannot be had.
    """
    if not all(text.strip() for text in args.runs):
        raise ValueError(f"RUN {EMPTY}")
    folders = [from_home(text) for text in args.runs]
    twice = [folder for i, folder in enumerate(folders) if folder.resolve() in [x.resolve() for x in folders[:i]]]
    if twice:
        raise ValueError(f"{twice[0]} is given twice: give it once")
    for folder in folders:
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "does not exist"
            raise ValueError(f"{folder} {what}: give a folder that launch/train.py made")
    if args.port is not None and not args.watch:
        raise ValueError("--port has no effect without --watch: add it, or leave the port out")
    if not args.watch:
        _write(args.output or folders[0] / (COMPARISON if len(folders) > 1 else PAGE), folders)
    elif args.output is not None:
        raise ValueError("--output has no effect with --watch, which serves the page: leave one of them out")
    else:
        _watch(folders, PORT if args.port is None else args.port)


def _write(page: pathlib.Path, folders: Sequence[pathlib.Path]) -> None:
    announce(f"reading {', '.join(map(str, folders))}", file=sys.stderr)
    # Imported here: importing JAX would make --help take seconds.
    from ntl_jax.metrics.report.page import is_report, write_report

    check_page(page, ".html", is_report)
    try:
        write_report(folders, page)
    except OSError as error:
        raise ValueError(f"--output={page} cannot be written ({error}): name another file") from error
    print(printable(f"written to {page}"), flush=True)


def _watch(folders: Sequence[pathlib.Path], port: int) -> None:
    if not 0 <= port <= LAST_PORT:
        raise ValueError(f"--port={port}: must lie in [0, {LAST_PORT}]; 0 takes one that is free")
    announce(f"reading {', '.join(map(str, folders))}", file=sys.stderr)
    from ntl_jax.metrics.report.watch import ReportServer

    try:
        server = ReportServer(folders, port)
    except OSError as error:
        raise ValueError(
            f"--port={port} cannot be used ({error.strerror}): name another; 0 takes a free one"
        ) from error
    with server:
        server.page()  # a folder without a run is an error now, not in the browser
        print(f"{server.url} shows the page, and follows the run; Ctrl+C ends", flush=True)
        port = server.server_address[1]
        print(f"from another machine: ssh -L {port}:127.0.0.1:{port} HOST, then the same address there", flush=True)
        server.serve_forever()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command("report"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = functools.partial(parser.add_argument, action=Once)
    add("runs", nargs="+", metavar="RUN", help="run folder; several are laid over one another")
    parser.add_argument(
        "--output",
        action=PathOnce,
        metavar="PAGE",
        help=f"where the page goes; by default {PAGE}, or {COMPARISON} of several runs, in the first folder",
    )
    parser.add_argument(
        "--watch", action="store_true", help="serve the page to this machine alone, and follow runs that go on"
    )
    add("--port", type=int, metavar="N", help=f"of --watch, {PORT} by default; 0: any that is free")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

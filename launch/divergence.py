# SPDX-License-Identifier: Apache-2.0
"""Says what a divergence log means: python launch/divergence.py LOG...

LOG is a run folder of launch/train.py, or a divergence log (docs/divergence.md), also packed with gzip; a run folder
stands for its log and the older parts of it. Prints which tokens sampler and trainer disagree about most, where, when,
in which answers and of which kind, and a diagnosis; writes the same as a page of figures.
"""

from ntl_jax.ending import end_at_signals, explain, leave

if __name__ == "__main__":
    end_at_signals()  # before the other imports

import argparse
import functools
import os
import pathlib
import sys
from collections.abc import Sequence

from ntl_jax.command_line import Once, PathOnce, announce, check_page, parse_once
from ntl_jax.config import EMPTY, from_home, printable
from ntl_jax.console import command

PAGE = "divergence.png"
MOST_TOKENS = 1000
"""To show."""


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 done, 1 with a message, 2 the command line is wrong.
    """
    args = parse_once(_parser(), argv)
    try:
        say(args)
    except BrokenPipeError:  # whoever reads the answers has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        place = "standard output" if isinstance(error, OSError) else args.output or PAGE
        return leave(f"error: {explain(error, pathlib.Path(place), 'ask again')}", code=1)
    return 0


def say(args: argparse.Namespace) -> None:
    """Reads the logs, prints the answers, writes the page.

    Raises:
        ValueError: for logs that are missing, empty or no divergence logs, and a page that cannot be written.
    """
    if not 1 <= args.top <= MOST_TOKENS:
        raise ValueError(f"--top={args.top}: must lie in [1, {MOST_TOKENS:,}]")
    if not all(text.strip() for text in args.logs):
        raise ValueError(f"LOG {EMPTY}")
    places = [from_home(text) for text in args.logs]
    announce(f"reading {', '.join(map(str, places))}", file=sys.stderr)
    # Imported here: importing JAX would make --help take seconds.
    from rich.console import Console

    from ntl_jax.metrics.atomic_files import as_line, write_whole
    from ntl_jax.metrics.divergence.questions.answers import answer
    from ntl_jax.metrics.divergence.questions.page import draw_page, is_page
    from ntl_jax.metrics.divergence.questions.reading import log_files, read_log
    from ntl_jax.metrics.divergence.questions.terminal import print_answers

    files = [file for place in places for file in log_files(place)]
    page = args.output or (places[0] if places[0].is_dir() else places[0].parent) / PAGE
    check_page(page, ".png", is_page)
    log = read_log(files)
    answers, console = answer(log.tokens, args.top), Console(highlight=False)
    torn = f"; the last of {', '.join(map(str, log.torn))} is incomplete" if log.torn else ""
    print(printable(f"{len(log.tokens):,} lines{torn}"), file=sys.stderr, flush=True)
    try:
        if args.json:
            row = {"logs": [str(file) for file in files]} | answers.as_row() | {"page": str(page)}
            print(as_line(row), end="", flush=True)
        else:
            with console.capture() as shown:
                print_answers(answers, console=console)
            print(shown.get(), end="", flush=True)
    finally:  # whoever reads only the first lines gets the page too
        try:
            write_whole(page, draw_page(answers, title=", ".join(args.logs)))
        except OSError as error:
            raise ValueError(f"--output={page} cannot be written ({error}): name another file") from error
    if not args.json:
        print(printable(f"written to {page}"), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command("divergence"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = functools.partial(parser.add_argument, action=Once)
    add("logs", nargs="+", metavar="LOG", help="run folder or divergence log; several are read as one")
    add("--top", type=int, default=10, metavar="N", help="how many tokens the tables of tokens show, 10 by default")
    parser.add_argument("--json", action="store_true", help="print the answers as one JSON object")
    parser.add_argument(
        "--output",
        action=PathOnce,
        metavar="PAGE",
        help=f"where the page goes; by default {PAGE} beside the log",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

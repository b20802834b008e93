# SPDX-License-Identifier: Apache-2.0
"""Reads command lines and configuration files, and answers what is wrong in them with one line.

A repeated option, a word that belongs to no option and an empty value are refused: what a user typed and no program
reads is a mistake.
"""

import difflib
import io
import os
import pathlib
import re
import sys
import types
import typing
from argparse import Action, ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO, get_args, get_origin

from ntl_jax.config import EMPTY, from_home, printable

SWITCH = None
"""The kind of an option that takes no value."""
_TWICE = "is given twice"
_NO_NUMBER = re.compile(r"-[A-Za-z]\S*")
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", pathlib.Path: "a path"}


def announce(text: str, *, file: TextIO | None = None) -> None:
    """Prints the first line of a command, before imports that take seconds, and keeps these imports quiet.

    From then on standard output escapes characters that its encoding does not have, as standard error does.

    Args:
        text: what the command is about to do.
        file: where to print; None: standard output.

    Example:
        >>> announce("evaluating runs/mine")
        evaluating runs/mine
    """
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # it would miss PyTorch, which nothing here needs
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    print(printable(text), file=file, flush=True)


def given_options(argv: Sequence[str], kinds: Mapping[str, object]) -> dict[str, list[str]]:
    """The options of a command line with their values, as they were typed.

    Args:
        argv: the words of the command line.
        kinds: the annotation of each option by its name, with underscores: ``--config.data.num_train``; `SWITCH` for
            an option without values; a text that says what values it takes.

    Raises:
        ValueError: for an unknown or repeated option, an empty value, and words that belong to no option.

    Example:
        >>> given_options(["--steps=3", "--mesh", "1", "2"], {"--steps": int, "--mesh": tuple[int, ...]})
        {'--steps': ['3'], '--mesh': ['1', '2']}
    """
    given: dict[str, list[str]] = {}
    last, room = "", 0.0
    for word in argv:
        if word.startswith("--"):
            typed, equals, value = word.partition("=")
            last = typed.replace("-", "_").replace("__", "--", 1)
            if last not in kinds:
                raise ValueError(f"there is no option {last}: {_near(last, kinds)}")
            _check_first(last, value if equals else None, given, kinds)
            given[last] = [value] if equals else []
            room = _most_values(kinds[last]) - len(given[last])
        elif room > 0 and not _NO_NUMBER.fullmatch(word):
            given[last].append(word)
            room -= 1
        elif word != "-h":
            raise ValueError(f"{word!r} belongs to no option: {_meant(word, last, given, kinds)}")
    for name, values in given.items():
        if values == [""] or (_most_values(kinds[name]) == 1 and values and not values[0].strip()):
            raise ValueError(f"{name} {EMPTY}")
    return given


def describe_kind(kind: object) -> str:
    """The values of an annotation, in words.

    Example:
        >>> describe_kind(float | None), describe_kind(tuple[int, int, int])
        ('a number or None', '3 values, each a whole number')
    """
    options = get_args(kind)
    match get_origin(kind):
        case typing.Literal:
            return f"one of {', '.join(map(str, options))}"
        case types.UnionType | typing.Union:
            return " or ".join(describe_kind(option) for option in options)
        case origin if origin is tuple:
            several = "any number of values" if options[-1] is ... else f"{len(options)} values"
            return f"{several}, each {describe_kind(options[0])}"
    return "None" if kind is type(None) else _WORDS.get(typing.cast(type, kind), str(kind))


def unreadable_value(message: str, given: Mapping[str, Sequence[str]], kinds: Mapping[str, object]) -> str:
    """One line about a value that cannot be read: the option, what was given, what is allowed.

    Args:
        message: the parser's own words, over any number of lines, with the option in them.
        given: from `given_options`.
        kinds: as there.

    Example:
        >>> unreadable_value("cannot parse --steps", {"--steps": ["3.5"]}, {"--steps": int})
        '--steps=3.5: must be a whole number'
    """
    joined = "".join(message.split())
    named = [name for name in given if re.search(rf"{re.escape(name)}(?![\w.])", joined)]
    if not named:
        return " ".join(message.split())
    name, values = named[0], given[named[0]]
    kind = kinds[name]
    choices = [str(choice) for choice in _choices(kind)]
    near = difflib.get_close_matches((values or [""])[-1].lower(), choices, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    shown = f"={' '.join(values)}" if values else " has no value"
    return f"{name}{shown}: must be {describe_kind(kind)}{hint}"


class Once(Action):
    """Stores the value of an option or argument, which may be given once and is not empty."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: object, option_string: str | None = None
    ) -> None:
        name = option_string or str(self.metavar or self.dest)
        given = vars(namespace).setdefault("given", set())
        if self.dest in given:
            parser.error(f"{name} {_TWICE}: give it once")
        if values == [""] or (isinstance(values, str) and not values.strip()):
            parser.error(f"{name} {EMPTY}")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


class PathOnce(Once):
    """Stores the path that an option or argument names; ``~`` stands for the home folder."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: object, option_string: str | None = None
    ) -> None:
        super().__call__(parser, namespace, values, option_string)
        try:
            setattr(namespace, self.dest, from_home(str(values)))
        except ValueError as error:
            parser.error(f"{option_string or self.metavar or self.dest}: {error}")


def parse_once(parser: ArgumentParser, argv: Sequence[str]) -> Namespace:
    """``parser.parse_args`` with hints for unknown options, and without abbreviations; names may have underscores.

    Args:
        parser: its options have the action `Once`.
        argv: the words of the command line.

    Raises:
        SystemExit: after a message, for a wrong command line; after ``--help``.

    Example:
        >>> parser = ArgumentParser()
        >>> _ = parser.add_argument("--samples", type=int, action=Once)
        >>> parse_once(parser, ["--samples=8"]).samples
        8
    """
    parser.allow_abbrev = False
    words = [re.sub(r"^--\w[\w-]*", lambda name: name[0].replace("_", "-"), word) for word in argv]
    args, rest = parser.parse_known_intermixed_args(words)
    if rest:
        known = sorted(set(re.findall(r"--[a-z][a-z.-]+", parser.format_help())))
        name = f"--{rest[0].split('=')[0].lstrip('-')}"
        is_text = name not in known and bool(re.fullmatch(r"\w+|-\d.*", rest[0]))
        near = [name] if name in known else difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        advice = "; a text goes in quotes, after -- if it begins with -" if is_text else ""
        others = f"the options are {', '.join(known)}{advice}"
        hint = f"did you mean {near[0]}?" if near and not is_text else others
        parser.error(f"{rest[0]!r} is not understood: {hint}")
    return args


def check_unused(folder: pathlib.Path | None, option: str) -> None:
    """Raises a ValueError if results would be written over files that are there, or cannot be written.

    Args:
        folder: where to write; None: wherever nothing is.
        option: what names the folder on the command line.
    """
    if folder is None:
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{option}={folder} already exists and is not empty: name another folder, or remove it first")
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise ValueError(f"{option}={folder} cannot be made in {above}: name a folder that you may write to")


def check_page(page: pathlib.Path, suffix: str, is_ours: Callable[[pathlib.Path], bool]) -> None:
    """Raises a ValueError unless a command may write its page there.

    Args:
        page: of the option ``--output``, or its default.
        suffix: with which its name must end.
        is_ours: whether a file is such a page, which may be replaced.

    Example:
        >>> check_page(pathlib.Path("mine.txt"), ".html", lambda path: False)
        Traceback (most recent call last):
        ...
        ValueError: --output=mine.txt: must end in .html
    """
    if page.is_dir():
        raise ValueError(f"--output={page} is a folder: name a file, as in --output={page / f'page{suffix}'}")
    if page.suffix != suffix:
        raise ValueError(f"--output={page}: must end in {suffix}")
    above = page.absolute().parent
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise ValueError(f"--output={page} cannot be written: {above} is no folder that you may write to; name another")
    if os.path.lexists(page) and not (page.is_file() and is_ours(page)):
        raise ValueError(
            f"--output={page} already exists and is no page of this command: name another file, or remove it first"
        )


def _check_first(name: str, value: str | None, given: Mapping[str, object], kinds: Mapping[str, object]) -> None:
    several = _most_values(kinds[name]) > 1
    if name in given:
        remedy = f"all values after one {name}, as in {name} A B" if several else "it once"
        raise ValueError(f"{name} {_TWICE}: give {remedy}")
    if value is not None and kinds[name] is SWITCH:
        raise ValueError(f"{name}={value}: {name} takes no value: write {name} alone, or leave it out")


def _most_values(kind: object) -> float:
    """How many words may follow an option."""
    if kind is SWITCH:
        return 0
    if get_origin(kind) is not tuple:
        return 1
    return float("inf") if get_args(kind)[-1] is ... else len(get_args(kind))


def _near(name: str, known: Mapping[str, object]) -> str:
    """A hint at what an unknown option means: the same setting elsewhere, else the most similar name."""
    path = name.removeprefix("--").lower()
    same = [option for option in sorted(known) if option.endswith(f".{path}")]
    same = same or [option for option in sorted(known) if option.split(".")[-1] == path.split(".")[-1]]
    near = same or difflib.get_close_matches(f"--{path}", known, n=1, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else "--help lists all options"


def _meant(word: str, last: str, given: Mapping[str, object], kinds: Mapping[str, object]) -> str:
    """A hint at what a word without an option means."""
    name = f"--{word.split('=')[0].lstrip('-').replace('-', '_')}"
    if name in kinds:
        return f"did you mean {name}?"
    if "=" in word.lstrip("=") or word.startswith("-"):
        return _near(name, kinds)
    if last and (most := _most_values(kinds[last])) > 1:
        return f"{last} takes {most:g} values"
    if "--config" not in given and "--config" in kinds:
        return f"did you mean --config={word}?"
    return "write options as --name=value, without spaces"


def _choices(kind: object) -> list[object]:
    """The words that an annotation takes."""
    if kind is bool:
        return ["true", "false"]
    if get_origin(kind) is typing.Literal:
        return list(get_args(kind))
    return [choice for option in get_args(kind) for choice in _choices(option)]

# SPDX-License-Identifier: Apache-2.0
r"""Texts on the command line: a shell passes ``\n`` as two characters and leaves the ``~`` of ``--data=~/a`` alone.

Text from files and data is shown without control characters.
"""

import os
import pathlib
import re
from collections.abc import Collection

CHARACTERS = {"n": "\n", "t": "\t", "r": "\r"}
LETTERS = {character: letter for letter, character in CHARACTERS.items()}

LATEX = frozenset((
    "nabla", "natural", "ncong", "ne", "nearrow", "neg", "neq", "newcommand", "newenvironment", "newline",
    "newpage", "newtheorem", "nexists", "ngeq", "ngeqq", "ngeqslant", "ngtr", "nicefrac", "nLeftarrow",
    "nleftarrow", "nLeftrightarrow", "nleftrightarrow", "nleq", "nleqq", "nleqslant", "nless", "nmid",
    "nobreak", "nocite", "noindent", "nolimits", "nolinebreak", "nonumber", "nopagebreak", "normalfont",
    "normalsize", "not", "notag", "notin", "nparallel", "nprec", "npreceq", "nRightarrow", "nrightarrow",
    "nshortmid", "nshortparallel", "nsim", "nsubseteq", "nsubseteqq", "nsucc", "nsucceq", "nsupseteq",
    "nsupseteqq", "ntriangleleft", "ntrianglelefteq", "ntriangleright", "ntrianglerighteq", "nu", "numberline",
    "nVDash", "nVdash", "nvDash", "nvdash", "nwarrow",
    "tableofcontents", "tabularnewline", "tag", "tan", "tanh", "tau", "tbinom", "text", "textasciicircum",
    "textasciitilde", "textbackslash", "textbar", "textbf", "textbullet", "textcircled", "textcolor",
    "textdegree", "textellipsis", "textemdash", "textendash", "textgreater", "textheight", "textit", "textless",
    "textmd", "textnormal", "textquotedblleft", "textquotedblright", "textquoteleft", "textquoteright",
    "textregistered", "textrm", "textsc", "textsf", "textsl", "textstyle", "textsubscript", "textsuperscript",
    "texttrademark", "texttt", "textunderscore", "textup", "textvisiblespace", "textwidth", "tfrac", "thanks",
    "therefore", "theta", "thetasym", "thickapprox", "thicksim", "thinspace", "thispagestyle", "tilde", "times",
    "tiny", "title", "to", "today", "top", "triangle", "triangledown", "triangleleft", "trianglelefteq",
    "triangleq", "triangleright", "trianglerighteq", "tt", "ttfamily", "twocolumn", "twoheadleftarrow",
    "twoheadrightarrow", "typeout",
    "raggedleft", "raggedright", "raise", "raisebox", "rangle", "rbrace", "rbrack", "rceil", "ref",
    "reflectbox", "refname", "relax", "renewcommand", "renewenvironment", "require", "resizebox", "rfloor",
    "rgroup", "rhd", "rho", "right", "rightarrow", "rightarrowtail", "rightharpoondown", "rightharpoonup",
    "rightleftarrows", "rightleftharpoons", "rightrightarrows", "rightsquigarrow", "rightthreetimes",
    "risingdotseq", "rlap", "rm", "rmfamily", "rmoustache", "root", "rotatebox", "rtimes", "rule", "rVert",
    "rvert",
))  # fmt: skip
"""LaTeX commands that start with an escape; `\\ni` is left out, because a line may start with "i"."""

LONGEST_LINE = 2000
"""Characters of a line on the console."""

_ESCAPE = re.compile(r"\\(\\|[A-Za-z]+)")
_ESCAPED = re.compile(r"([\\\n\t\r])([A-Za-z]*)")
_LIST = re.compile(r"""\s*[\[(]\s*(['"].*['"])\s*[\])]\s*""", re.DOTALL)
_SEPARATOR = re.compile(r"""[,;]|(?<!<)\|(?!>)|(?<=['"]) +(?=['"])""")


def read_escapes(text: str) -> str:
    r"""The text with ``\n``, ``\t``, ``\r`` and ``\\`` read as line feed, tab, carriage return and backslash.

    Every other backslash is kept, and so are LaTeX commands that start with an escape, such as ``\times``.

    Args:
        text: as given on the command line.

    Example:
        >>> read_escapes(r"{question}\nAnswer: \boxed{\text{kg}}\t") == "{question}\nAnswer: \\boxed{\\text{kg}}\t"
        True
        >>> read_escapes(r"\\n") == r"\n"
        True
    """
    return _ESCAPE.sub(_read, text)


def several_in_one(texts: Collection[str]) -> list[str]:
    """The parts of a single text that looks like a list with commas, semicolons, bars or quotes; empty if it does not.

    Args:
        texts: the values of one option.

    Example:
        >>> several_in_one(["A:,B:"]), several_in_one(["['A:', 'B:']"])
        (['A:', 'B:'], ['A:', 'B:'])
        >>> several_in_one(["<|im_end|>"]), several_in_one(["A:", "1, 2"])
        ([], [])
    """
    if len(texts) != 1:
        return []
    (text,) = texts
    quoted = _LIST.fullmatch(text)
    parts = [part.strip(" '\"") for part in _SEPARATOR.split(quoted[1] if quoted else text)]
    parts = [part for part in parts if part]
    return parts if len(parts) > 1 else []


def from_home(text: str) -> pathlib.Path:
    """The path that a text names, with ``~`` or ``~user`` at its start replaced by the home folder.

    Args:
        text: as given on the command line or in a configuration; ``./~`` names a file of that name.

    Raises:
        ValueError: if no such home folder is known.

    Example:
        >>> from_home("~/a.jsonl") == pathlib.Path.home() / "a.jsonl", from_home("./~").name
        (True, '~')
    """
    if not text.startswith("~"):
        return pathlib.Path(text)
    path = os.path.expanduser(text)
    if path.startswith("~"):
        raise ValueError(f"{text} cannot be found: there is no home folder {text.split('/')[0]}; write the whole path")
    return pathlib.Path(path)


def write_escapes(text: str) -> str:
    r"""The text that ``read_escapes`` turns into this one, with special characters escaped where possible.

    A line feed is not escaped where the escape would start a LaTeX command, as before ``eq``.

    Args:
        text: any.

    Example:
        >>> print(write_escapes("{question}\n"), write_escapes(r"\text"))
        {question}\n \\text
    """
    return _ESCAPED.sub(_write, text)


def printable(text: str) -> str:
    r"""The text as a terminal may show it, with long lines cut.

    Characters that cannot be seen, such as terminal escapes and marks that turn the direction of writing, are written
    as Python writes them.

    Args:
        text: of any number of lines.

    Example:
        >>> print(printable("a\x1b[31mb\n\u202etxt.jsonl"))
        a\x1b[31mb
        \u202etxt.jsonl
    """
    return "\n".join(map(_printable_line, text.split("\n")))


def _printable_line(line: str) -> str:
    shown = line
    if len(line) > LONGEST_LINE:  # its end may say what to do
        shown = f"{line[: LONGEST_LINE // 2]} ... ({len(line):,} characters) ... {line[-LONGEST_LINE // 2 :]}"
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def _read(escape: re.Match[str]) -> str:
    first, rest = escape[1][0], escape[1][1:]
    if first == "\\":
        return first
    return CHARACTERS[first] + rest if first in CHARACTERS and escape[1] not in LATEX else escape[0]


def _write(match: re.Match[str]) -> str:
    character, rest = match.groups()
    letter = LETTERS.get(character, "\\")
    return match[0] if letter + rest in LATEX else f"\\{letter}{rest}"

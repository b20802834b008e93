# SPDX-License-Identifier: Apache-2.0
"""Divergence logs that are none, and pages that cannot be written."""

import gzip
import json
import pathlib

from tests.divergence_lines import line, lines
from tests.launch.bad_inputs.case import BadInput

LOG = "".join(f"{json.dumps(row)}\n" for row in lines())
GOOD = "{folder}/divergence.jsonl"


def case(name: str, *says: str, content: str | bytes | None = LOG, options: tuple[str, ...] = (), log: str = GOOD):
    """A log of this content, with options."""
    files = {} if content is None else {"divergence.jsonl": content}
    return BadInput(f"divergence: {name}", (log, *options), says, files, command="divergence")


def changed(name: str, *says: str, **values: object) -> BadInput:
    """A log whose second line has another value."""
    content = LOG.splitlines(keepends=True)[0] + json.dumps(line(1, **values)) + "\n"
    return case(name, "divergence.jsonl:2", *says, "fix or remove the line", content=content)


def other_files(folder: pathlib.Path) -> None:
    """Files and folders that are neither logs nor pages."""
    (folder / "divergence.jsonl").write_text(LOG)
    (folder / "photo.png").write_bytes(b"\x89PNG" + bytes(100))
    (folder / "pages").mkdir()
    (folder / "link.png").symlink_to("nowhere.png")


def at(name: str, *says: str, options: tuple[str, ...]) -> BadInput:
    """A page that cannot be written."""
    return BadInput(f"divergence: {name}", (GOOD, *options), says, prepare=other_files, command="divergence")


CASES = [
    BadInput("divergence: no log", (), ("LOG",), command="divergence"),
    case("a log without a name", "LOG is empty", log=""),
    case("no such file", "there is no", "divergence.jsonl: give a divergence log, or a run folder", content=None),
    case("a folder without a log", "holds no divergence.jsonl", "divergence.enabled", log="{folder}", content=None),
    case("an empty log", "no divergence lines", "divergence.threshold", "divergence.every", content=""),
    case("an incomplete line alone", "no divergence lines", content='{"iteration": 3, "ra'),
    case("no JSON", "is no divergence log", "line 1", "give a run folder", content="token,probability\n7,0.9\n"),
    case("JSON of many lines", "is no divergence log", "line 1", content=json.dumps(lines(), indent=1)),
    case("a list", "is no divergence log", "no JSON object", content=json.dumps(lines())),
    case("no text", "is no divergence log", "not UTF-8", content=b"\x89PNG\r\n\x1a\n\0\0"),
    case("another encoding", "is no divergence log", "not UTF-8", content=LOG.encode("utf-16")),
    case(
        "metrics",
        "is no divergence log",
        "no prob_divergence",
        "give a run folder or the divergence.jsonl in it",
        content='{"stage": "ppo", "step": 1, "val/accuracy": 0.5}\n',
    ),
    case("a packed log that is cut", "gzip", "damaged", "again", content=gzip.compress(LOG.encode())[:-30]),
    case("a damaged line", "divergence.jsonl:21", "not JSON", "fix or remove", content=LOG + LOG[:300] + "\n" + LOG),
    changed("a probability in percent", "prob_divergence is 90", "from 0 to 1", prob_divergence=90),
    changed("a position below 0", "position is -1", "at least 0", position=-1),
    changed("an answer that is a text", "is_correct is 'yes'", "true, false or null", is_correct="yes"),
    changed("a text that is a list", "token_text is ['7']", "a text or null", token_text=["7"]),
    case("other ends of lines", "is no divergence log", "Extra data", content=LOG.replace("\n", "\r")),
    case("a name that is too long", "cannot be read", "File name too long", log="{folder}/" + 300 * "a"),
    case("a log twice", "is given twice", "give it once", options=(GOOD,)),
    case("a folder and its log", "is given twice", "give it once", options=("{folder}",)),
    case("a second log that is missing", "there is no", "other.jsonl", options=("{folder}/other.jsonl",)),
    case("a home folder that is not there", "no home folder ~nobody-at-all", log="~nobody-at-all/divergence.jsonl"),
    case("no tokens to show", "--top=0", "[1, 1,000]", options=("--top=0",)),
    case("fewer than no tokens", "--top=-3", "[1, 1,000]", options=("--top=-3",)),
    case("too many tokens", "--top=5000", "[1, 1,000]", options=("--top=5000",)),
    case("a number that is a word", "--top", "'ten'", options=("--top=ten",)),
    case("half a token", "--top", "'2.5'", options=("--top", "2.5")),
    case("a number twice", "--top", "twice", options=("--top=3", "--top=4")),
    case("an option that is not there", "--output", options=("--outptu=a.png",)),
    at("a folder as a page", "is a folder", "name a file", options=("--output={folder}/pages",)),
    at("a page of another kind", "must end in .png", options=("--output={folder}/page.pdf",)),
    at("a page without a kind", "must end in .png", options=("--output={folder}/page",)),
    at("a page in no folder", "is no folder", "name another", options=("--output={folder}/no/page.png",)),
    at("a page in a file", "is no folder", options=("--output={folder}/divergence.jsonl/page.png",)),
    at("a page without a name", "--output is empty", options=("--output=",)),
    at("a page over a link", "link.png", "name another file", options=("--output={folder}/link.png",)),
    at("a page over another image", "photo.png", "name another file", options=("--output={folder}/photo.png",)),
]

# SPDX-License-Identifier: Apache-2.0
"""The page of one or several runs: one HTML file with its script, style and data, which opens without a network."""

import base64
import dataclasses
import datetime
import hashlib
import html
import importlib.resources
import json
import pathlib
import re
from collections.abc import Sequence

from ntl_jax.metrics.atomic_files import write_whole
from ntl_jax.metrics.report.blocks import Blocks
from ntl_jax.metrics.report.curves import PANELS, meanings
from ntl_jax.metrics.report.run import read_run
from ntl_jax.metrics.report.samples import MOST_BYTES

REPORT_FILE = "report.html"
"""In a run folder."""
SCRIPTS = ("data", "elements", "charts", "curves", "digits", "tokens", "samples", "facts", "main")
"""In the order in which they run."""
MARK = '<meta name="generator" content="ntl_jax report">'
"""By which the file of a page is known; it stands at its beginning."""


def render(folders: Sequence[pathlib.Path], *, state: str | None = None) -> str:
    """The page as HTML.

    Args:
        folders: of the runs, which the page lays over one another.
        state: of a page that is served, which loads itself again when the server names another; None: it is a file.

    Raises:
        ValueError: for a folder that holds no run.
    """
    blocks, names = Blocks(), _names(folders)
    runs, columns = zip(*(read_run(folder, blocks, MOST_BYTES // len(folders)) for folder in folders), strict=True)
    report = {
        "made": f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
        "state": state,
        "meanings": meanings(columns),
        "panels": [dataclasses.asdict(panel) for panel in PANELS],
        "runs": [run | {"name": name} for run, name in zip(runs, names, strict=True)],
    }
    first = [run["metrics"] for run in runs]  # drawn first, so parsed first
    order = sorted(range(len(blocks.packed)), key=lambda i: f"b{i}" not in first)
    script = _script()
    return _filled(
        policy=_policy(script),
        title=html.escape(", ".join(names)),
        style=_asset("uplot/uPlot.min.css") + _asset("page.css"),
        report=_inert(json.dumps(report, ensure_ascii=False, allow_nan=False)),
        script=script,
        blocks="\n".join(f'<script type="text/plain" id="b{i}">{blocks.packed[i]}</script>' for i in order),
    )


def write_report(folders: Sequence[pathlib.Path], page: pathlib.Path) -> None:
    """Writes the page of some runs.

    Args:
        folders: of the runs.
        page: the HTML file.

    Raises:
        ValueError: for a folder that holds no run.
        OSError: if the file cannot be written.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "metrics.jsonl").write_text('{"stage": "ppo", "step": 1, "val/accuracy": 0.25}\\n')
        >>> write_report([folder], folder / "report.html")
        >>> (folder / "report.html").read_text()[:15]
        '<!doctype html>'
    """
    write_whole(page, render(folders).encode("utf-8", "replace"))


def is_report(path: pathlib.Path) -> bool:
    """Whether a file is such a page."""
    with path.open("rb") as file:
        return MARK.encode() in file.read(400)


def _names(folders: Sequence[pathlib.Path]) -> list[str]:
    """The shortest ends of the paths that tell the folders apart."""
    paths = [folder.resolve().parts for folder in folders]
    for count in range(1, max(map(len, paths))):
        names = ["/".join(parts[-count:]) for parts in paths]
        if len({*names}) == len(names):
            return names
    return ["/".join(parts) for parts in paths]


def _filled(**parts: str) -> str:
    """The template with its parts in place."""
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], _asset("page.html"))


def _script() -> str:
    own = "\n".join(_asset(f"{name}.js") for name in SCRIPTS)
    return f'{_asset("uplot/uPlot.iife.min.js")}\n(() => {{\n"use strict";\n{own}\n}})();'


def _policy(script: str) -> str:
    """What the browser may run and load: this script, and nothing from elsewhere."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'self'"
    )


def _inert(text: str) -> str:
    """JSON that cannot end the element it stands in."""
    return text.replace("<", "\\u003c")


def _asset(name: str) -> str:
    return (importlib.resources.files("ntl_jax.metrics.report") / "assets" / name).read_text(encoding="utf-8")

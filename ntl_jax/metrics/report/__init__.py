# SPDX-License-Identifier: Apache-2.0
"""The run report: one HTML page of one or several runs. ``launch/report.py`` writes it, and so does every run."""

import html
import pathlib
from collections.abc import Sequence

from ntl_jax.metrics.report.page import REPORT_FILE, render, write_report

__all__ = ["REPORT_FILE", "RunReport", "plot_run", "write_report"]


class RunReport:
    """A page that notebooks show.

    Args:
        page: as HTML.
        height: of its frame, in pixels.
    """

    def __init__(self, page: str, height: int):
        self.page, self.height = page, height

    def _repr_html_(self) -> str:
        """What Jupyter shows: the page in a frame of its own, so that neither changes the other."""
        frame = 'width="100%" style="border: 0" sandbox="allow-scripts"'
        return f'<iframe srcdoc="{html.escape(self.page)}" height="{self.height}" {frame}></iframe>'


def plot_run(run: str | pathlib.Path, *others: str | pathlib.Path, height: int = 900) -> RunReport:
    """The report of a run, as the last expression of a notebook's cell shows it.

    Args:
        run: the run folder.
        others: further runs, whose curves are laid over those of the first.
        height: of the frame, in pixels.

    Raises:
        ValueError: for a folder that holds no run.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "metrics.jsonl").write_text('{"stage": "ppo", "step": 1, "val/accuracy": 0.25}\\n')
        >>> plot_run(folder)._repr_html_()[:15]
        '<iframe srcdoc='
    """
    folders: Sequence[pathlib.Path] = [pathlib.Path(folder) for folder in (run, *others)]
    return RunReport(render(folders), height)

# SPDX-License-Identifier: Apache-2.0
"""One page from a divergence log: the diagnosis, all tokens over the iterations, a panel for each question.

Importing matplotlib takes a quarter of a second, so a command imports this module late.
"""

import io
import pathlib
import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ntl_jax.metrics.divergence.questions.answers import Answers
from ntl_jax.metrics.divergence.questions.diagnosis import Finding, Level
from ntl_jax.metrics.divergence.questions.panels import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    draw_iterations,
    drawable,
    finish_axes,
    hide_scale,
    is_dated,
    small_panels,
)

SOFTWARE = "ntl_jax divergence page"
"""In the header of the image, by which `is_page` knows a page."""
OF_LEVEL: dict[Level, str] = {"normal": GREEN, "note": BLUE, "check": ORANGE}
COLUMNS = 3
LONGEST_TITLE = 100
LONGEST_FINDING = 170
"""Characters of a line of the diagnosis, so that it fits the page."""


def draw_page(answers: Answers, title: str) -> bytes:
    """Draws the page; panels without data are left out.

    Args:
        answers: of a log.
        title: of the page.

    Returns:
        A PNG image.

    Example:
        >>> from ntl_jax.metrics.divergence.questions.answers import answer
        >>> draw_page(answer([], top=1), "runs/mine")[1:4]
        b'PNG'
    """
    image = io.BytesIO()
    _figure(answers, title).savefig(image, format="png", dpi=110, facecolor="white", metadata={"Software": SOFTWARE})
    return image.getvalue()


def is_page(path: pathlib.Path) -> bool:
    """Whether a file is a page that `draw_page` has drawn.

    Raises:
        OSError: if it cannot be read.

    Example:
        >>> import tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "photo.png"
        >>> path.touch()
        >>> is_page(path)
        False
    """
    with path.open("rb") as file:
        return SOFTWARE.encode() in file.read(1000)


def _figure(answers: Answers, title: str) -> Figure:
    panels, over_iterations = small_panels(answers), any(map(is_dated, answers.tokens))
    rows = -(-len(panels) // COLUMNS)
    lines = sum(len(_wrapped(finding)) for finding in answers.findings)
    heights = [0.18 + 0.09 * lines, *[1.1] * over_iterations, *[1.0] * rows]
    figure = Figure(figsize=(15, 3.1 * sum(heights) + 0.6), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    FigureCanvasAgg(figure)
    title = textwrap.shorten(drawable(title), LONGEST_TITLE, placeholder="...")
    figure.suptitle(title, color=INK, fontsize=15, fontweight="bold", parse_math=False)
    grid = GridSpec(len(heights), COLUMNS, figure=figure, height_ratios=heights)
    _diagnosis(figure.add_subplot(grid[0, :]), answers.findings)
    if over_iterations:
        draw_iterations(figure.add_subplot(grid[1, :]), answers.tokens)
    for index, draw in enumerate(panels):
        row, column = divmod(index, COLUMNS)
        draw(figure.add_subplot(grid[len(heights) - rows + row, column]))
    return figure


def _diagnosis(axes: Axes, findings: Sequence[Finding]) -> None:
    finish_axes(axes, "Diagnosis")
    hide_scale(axes)
    axes.set_yticks([])
    lines = [(OF_LEVEL[finding.level], line) for finding in findings for line in _wrapped(finding)]
    axes.set_ylim(len(lines), 0)
    for index, (color, line) in enumerate(lines):
        axes.text(0.0, index + 0.5, line, color=color, fontsize=11, va="center", parse_math=False)


def _wrapped(finding: Finding) -> list[str]:
    return textwrap.wrap(f"{finding.level}: {drawable(finding.text)}", LONGEST_FINDING, subsequent_indent="    ")

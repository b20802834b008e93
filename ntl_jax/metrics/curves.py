# SPDX-License-Identifier: Apache-2.0
"""One page of curves from a run's ``metrics.jsonl``: held-out accuracy over both stages, then other metrics.

Importing matplotlib takes a quarter of a second, so a run imports this module at its end.
"""

import dataclasses
import pathlib
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ntl_jax.config import printable
from ntl_jax.metrics.writer import read_lines

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
COLORS = ("#0b6e99", "#d9730d", "#0f7b6c")
STAGE_TITLES = {"warm_start": "warm start (updates)", "ppo": "PPO (iterations)"}


@dataclasses.dataclass(frozen=True)
class Panel:
    """One plot: a title, and the metrics drawn in it with their labels."""

    title: str
    stage: str
    lines: dict[str, str]
    percent: bool = False


PANELS = (
    Panel(
        "Losses of the warm start",
        "warm_start",
        {"warm_start/cross_entropy": "cross entropy", "warm_start/ntl_loss": "Number Token Loss"},
    ),
    Panel("Reward of the samples", "ppo", {"critic/score/mean": "reward", "reward/accuracy": "exact match"}),
    Panel("Number Token Loss of the answers", "ppo", {"ntl/loss": "while sampling", "actor/ntl_loss": "in the update"}),
    Panel("Digits of the answers that are right", "ppo", {"ntl/digit_accuracy": "digit accuracy"}, percent=True),
    Panel("Entropy of the policy (nats)", "ppo", {"actor/entropy": "entropy"}),
    Panel("Tokens with a clipped ratio", "ppo", {"actor/pg_clipfrac": "clip fraction"}, percent=True),
    Panel("KL of an update (nats)", "ppo", {"actor/ppo_kl": "KL"}),
    Panel(
        "Sampler against trainer: probabilities",
        "ppo",
        {"mismatch/engine/mean": "with equal weights", "mismatch/staleness/mean": "by age of the weights"},
    ),
    Panel("Critic", "ppo", {"critic/vf_loss": "value loss", "critic/vf_explained_var": "explained variance"}),
    Panel("Tokens per response", "ppo", {"response_length/mean": "mean"}),
    Panel("Tokens per second", "ppo", {"perf/throughput": "whole iteration"}),
)
COLUMNS = 3
MOST_LABELS = 8
"""Labeled evaluations per stage: more would overlap."""

Curve = tuple[list[int], list[float]]
Curves = dict[tuple[str, str], Curve]


def plot_curves(metrics_path: pathlib.Path, png_path: pathlib.Path) -> None:
    """Draws a run's metrics on one page. Panels without data are left out.

    Raises:
        ValueError: if the file holds no metrics, or a line that cannot be read.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "metrics.jsonl").write_text('{"stage": "ppo", "step": 0, "val/accuracy": 0.3}\\n')
        >>> plot_curves(folder / "metrics.jsonl", folder / "curves.png")
        >>> (folder / "curves.png").read_bytes()[1:4]
        b'PNG'
    """
    curves = _curves(read_lines(metrics_path))
    if not curves:
        raise ValueError(f"{metrics_path} holds no metrics: nothing to draw")
    _page(curves, metrics_path.parent.resolve().name).savefig(png_path, dpi=120, facecolor="white")


def _page(curves: Curves, title: str) -> Figure:
    panels = [panel for panel in PANELS if any((panel.stage, name) in curves for name in panel.lines)]
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(12, 4 + 2.6 * rows), layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.1))
    FigureCanvasAgg(figure)
    figure.suptitle(printable(title), color=INK, fontsize=14, fontweight="bold", parse_math=False)
    grid = GridSpec(rows + 1, COLUMNS, figure=figure, height_ratios=[1.3] + [1] * rows)
    _draw_accuracy(figure.add_subplot(grid[0, :]), curves)
    for index, panel in enumerate(panels):
        row, column = divmod(index, COLUMNS)
        _draw_panel(figure.add_subplot(grid[row + 1, column]), panel, curves)
    return figure


def _curves(lines: list[dict[str, Any]]) -> Curves:
    """Steps and values of every metric by (stage, name); null values are gaps."""
    curves: Curves = {}
    for line in lines:
        for name, value in line.items():
            if name not in ("stage", "step"):
                steps, values = curves.setdefault((line["stage"], name), ([], []))
                steps.append(line["step"])
                values.append(float("nan") if value is None else value)
    return curves


def _draw_accuracy(axes: Axes, curves: Curves) -> None:
    """Held-out accuracy across the page; every stage gets the same width, whatever its number of steps."""
    finish_axes(axes, "Held-out accuracy, greedy decoding")
    stages = [stage for stage in STAGE_TITLES if (stage, "val/accuracy") in curves]
    ticks: dict[float, str] = {}
    for index, stage in enumerate(stages):
        steps, values = curves[stage, "val/accuracy"]
        if index and steps[0] > 0:  # the stage starts with the final policy of the stage before
            steps, values = [0, *steps], [curves[stages[index - 1], "val/accuracy"][1][-1], *values]
        places = [index + step / max(steps[-1], 1) for step in steps]
        axes.plot(places, values, "o-", color=COLORS[index], linewidth=2.5, clip_on=False, label=STAGE_TITLES[stage])
        apart = -(-len(steps) // MOST_LABELS)
        for place, step, value in [*zip(places, steps, values, strict=True)][::-apart]:
            if place not in ticks:
                axes.annotate(f"{value:.1%}", (place, value), (0, 9), textcoords="offset points", ha="center")
            ticks[place] = f"{ticks[place]} | {step}" if place in ticks else str(step)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.margins(x=0.04, y=0.2)
    axes.set_ylim(bottom=0)
    if stages:
        axes.legend(frameon=False, fontsize=10, labelcolor=INK, loc="upper left")


def _draw_panel(axes: Axes, panel: Panel, curves: Curves) -> None:
    drawn = {label: curves[panel.stage, name] for name, label in panel.lines.items() if (panel.stage, name) in curves}
    for color, (label, (steps, values)) in zip(COLORS, drawn.items(), strict=False):
        _draw_line(axes, steps, values, label, color)
    if len(drawn) > 1:
        axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    if panel.percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    finish_axes(axes, panel.title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_xlabel(STAGE_TITLES[panel.stage], color=MUTED, fontsize=9)


def _draw_line(axes: Axes, steps: list[int], values: list[float], label: str, color: str) -> None:
    """Draws raw values as a thin line, and their running mean over a twentieth of the run as a thick line."""
    half = len(values) // 40
    windows = [[v for v in values[max(0, i - half) : i + half + 1] if v == v] for i in range(len(values))]
    smooth = [sum(window) / len(window) if window else float("nan") for window in windows]
    if half:
        axes.plot(steps, values, color=color, linewidth=0.8, alpha=0.3)
    axes.plot(steps, smooth, color=color, linewidth=2, label=label, marker="o" if len(steps) == 1 else "")


def finish_axes(axes: Axes, title: str) -> None:
    """Gives a plot its title, and the looks of all plots.

    Example:
        >>> axes = Figure().add_subplot()
        >>> finish_axes(axes, "Entropy")
        >>> axes.get_title(loc="left")
        'Entropy'
    """
    axes.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(colors=MUTED, length=0, labelsize=9)

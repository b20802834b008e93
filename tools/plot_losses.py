# SPDX-License-Identifier: Apache-2.0
"""Draws docs/number_token_losses.svg: ``python tools/plot_losses.py [FILE]``.

Three panels show the losses of `ntl_jax.losses` for the true digit 4: all mass on one digit; half of the mass as far
below the truth as the other half is above; and half on digit 2 while the other half moves.
"""

import pathlib
import sys

import jax
import jax.numpy as jnp
import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ntl_jax.losses import number_token_huber, number_token_mae, number_token_mse, number_token_wasserstein

FILE = pathlib.Path(__file__).parents[1] / "docs" / "number_token_losses.svg"
INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
# Name: the function, its color, and a line width that leaves lines below it visible where several coincide.
LOSSES = {
    "NTL-MSE": (number_token_mse, "#d9730d", 5.0),
    "NTL-MAE": (number_token_mae, "#0f7b6c", 3.2),
    "NTL-Huber": (number_token_huber, "#b08fd0", 1.6),
    "NTL-WAS": (number_token_wasserstein, "#0b2f4a", 1.6),
}
TRUE, RESTING = 4, 2


def one_digit(digit: jax.Array) -> jax.Array:
    """The distribution [..., 10] that has all mass on a digit [...]."""
    return jax.nn.one_hot(digit, 10)


def losses_of(probs: jax.Array) -> dict[str, jax.Array]:
    """Each loss of the distributions [N, 10], by name: [N]."""
    targets = jnp.full(probs.shape[0], float(TRUE))
    return {name: loss(jnp.log(probs), targets, jnp.arange(10.0)) for name, (loss, _, _) in LOSSES.items()}


def panels() -> dict[str, tuple[str, jax.Array, jax.Array]]:
    """By title: label of the x axis, its values, and the distribution at each value."""
    digits, distances = jnp.arange(10), jnp.arange(TRUE + 1)
    around = 0.5 * (one_digit(TRUE - distances) + one_digit(TRUE + distances))
    resting = 0.5 * (one_digit(digits) + one_digit(jnp.full(10, RESTING)))
    return {
        "All mass on one digit": ("the digit", digits, one_digit(digits)),
        f"Half on {TRUE} - k, half on {TRUE} + k": ("k", distances, around),
        f"Half on {RESTING}, half on another digit": ("the other digit", digits, resting),
    }


def draw() -> Figure:
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for ax, (title, (xlabel, x, probs)) in zip(figure.subplots(1, 3, sharey=True), panels().items(), strict=True):
        for name, losses in losses_of(probs).items():
            _, color, width = LOSSES[name]
            ax.plot(x, losses, "o-", color=color, label=name, linewidth=width, markersize=width + 2.4)
        ax.set_title(title, fontsize=11, color=INK)
        ax.set(xlabel=xlabel, xticks=x, ylim=(-0.3, 9.3))
        ax.grid(color=GRID)
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(colors=MUTED)
        if len(x) == 10:
            ax.axvline(TRUE, color=MUTED, linewidth=1, linestyle=":", zorder=0)
    figure.axes[0].set_ylabel(f"loss where {TRUE} is true", color=INK)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def save(path: pathlib.Path) -> None:
    """Writes the same file on every run: no date, no random ids. Text stays text, in the reader's own font."""
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ntl_jax"}):
        FigureCanvasSVG(draw()).print_svg(str(path), metadata={"Date": None})


if __name__ == "__main__":
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    save(path)
    print(f"{path}: {path.stat().st_size / 1000:.0f} KB")

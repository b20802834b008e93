# SPDX-License-Identifier: Apache-2.0
"""The panels of the page: one drawing for each question to a divergence log."""

import textwrap
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ntl_jax.config import printable
from ntl_jax.metrics.divergence.questions.answers import Answers
from ntl_jax.metrics.divergence.questions.questions import ANSWERS, DIGITS, UNKNOWN, Group, most_divergent
from ntl_jax.metrics.divergence.questions.token import DivergentToken
from ntl_jax.metrics.divergence.questions.welch import Welch
from ntl_jax.metrics.divergence.token_classes import FLIPS
from ntl_jax.numerals.kinds import KINDS

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
BLUE, ORANGE, GREEN = "#0b6e99", "#d9730d", "#0f7b6c"
OF_ANSWER = {ANSWERS[0]: GREEN, ANSWERS[1]: ORANGE, UNKNOWN: MUTED}
OF_FLIP = {FLIPS[0]: BLUE, FLIPS[1]: ORANGE, FLIPS[2]: GREEN}
OF_BOTH = {f"{digit}, {answer}": OF_ANSWER[answer] for digit in DIGITS for answer in ANSWERS}
FEWEST_BARS, MOST_BARS = 3, 10
"""Of a panel: room for three at least, so that a single bar does not fill it."""
LONGEST_LABEL = 18
"""Characters of a line of a label, two lines where there is room: more would take the bars' place."""

Draw = Callable[[Axes], None]


def drawable(text: str) -> str:
    r"""The text with escapes for what the font does not have.

    Example:
        >>> drawable("2 × 中")
        '2 × \\u4e2d'
    """
    return printable(text).encode("latin-1", "backslashreplace").decode("latin-1")


def small_panels(answers: Answers) -> list[Draw]:
    """How each panel is drawn, those with data, in reading order.

    Example:
        >>> len(small_panels(Answers([], [], {}, None, [])))
        0
    """
    tokens, tables = answers.tokens, answers.tables

    def bars(name: str, title: str, colors: Mapping[str, str] | None = None) -> list[Draw]:
        return [lambda axes: _bars(axes, title, tables[name].groups, colors or {})] if name in tables else []

    panels = [
        *bars("by_place", "Where in the response"),
        *bars("by_distance_from_start", "Tokens from the start"),
        *bars("by_distance_from_end", "Tokens from the end"),
        *bars("by_answer", "In which answers", OF_ANSWER),
    ]
    if "by_digit" in tables:
        panels.append(lambda axes: _digits(axes, tokens, answers.welch))
    panels += bars("by_digit_and_answer", "Digits in which answers", OF_BOTH)
    panels += bars("by_flip", "Which side was sure", OF_FLIP)
    if any(token.rollout_prob is not None and token.actor_prob is not None for token in tokens):
        panels.append(lambda axes: _probabilities(axes, tokens))
    panels += bars("by_kind", "Which kind of token")
    panels += bars("by_age", "Age of the weights")
    panels += bars("by_token", "Which tokens, the most frequent")
    if any(token.shown for token in tokens):
        panels.append(lambda axes: _top(axes, tokens))
    return panels


def draw_iterations(axes: Axes, tokens: Sequence[DivergentToken]) -> None:
    """Draws every token over the iterations, by its answer."""
    for name, color in OF_ANSWER.items():
        drawn = [(x.iteration, x.divergence) for x in tokens if is_dated(x) and _answer(x) == name]
        if drawn:
            axes.scatter(*zip(*drawn, strict=True), s=16, color=color, alpha=0.6, linewidths=0, label=f"{name} answer")
            place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.0}  # beside the title
            axes.legend(frameon=False, fontsize=9, labelcolor=INK, ncols=3, **place)
    finish_axes(axes, f"{len(tokens):,} divergent tokens: |sampler's - trainer's probability| in each iteration")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("iteration", color=MUTED, fontsize=9)
    axes.margins(x=0.01)
    axes.set_ylim(top=1.02)


def is_dated(token: DivergentToken) -> bool:
    """Whether it has a place in the plot over the iterations.

    Example:
        >>> is_dated(DivergentToken(0.9, 3, iteration=7)), is_dated(DivergentToken(0.9, 3))
        (True, False)
    """
    return token.iteration is not None and token.divergence is not None


def hide_scale(axes: Axes) -> None:
    """Takes the horizontal scale from a plot that writes its figures."""
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])


def _bars(axes: Axes, title: str, groups: Sequence[Group], colors: Mapping[str, str]) -> None:
    """A bar for each group, as long as it has tokens, with their share and mean divergence."""
    shown = groups[:MOST_BARS]
    for index, group in enumerate(shown):
        color = MUTED if group.name == UNKNOWN else colors.get(group.name, BLUE)
        axes.barh(index, group.tokens, color=color, height=0.7)
        mean = "" if group.mean is None else f", mean {group.mean:.2f}"
        note = f" {group.tokens:,} ({group.share:.0%}{mean})"
        axes.annotate(note, (group.tokens, index), va="center", color=INK, fontsize=9)
    words = (*FLIPS, *KINDS)
    _name_bars(axes, [group.name.replace("_", " ") if group.name in words else group.name for group in shown])
    finish_axes(axes, title)
    hide_scale(axes)
    axes.set_xlim(0, 1.75 * max(group.tokens for group in shown))  # the notes need room


def _digits(axes: Axes, tokens: Sequence[DivergentToken], welch: Welch | None) -> None:
    """The distribution of the divergences of digits and of other tokens."""
    sides = {"digits": [], "others": []}
    for token in tokens:
        if token.is_digit is not None and token.divergence is not None:
            sides["digits" if token.is_digit else "others"].append(token.divergence)
    drawn = {name: values for name, values in sides.items() if values}
    if drawn:
        labels = [f"{name} ({len(values):,})" for name, values in drawn.items()]
        boxes = axes.boxplot(
            list(drawn.values()), orientation="horizontal", tick_labels=labels, widths=0.5, showmeans=True,
            patch_artist=True, medianprops={"color": INK}, flierprops={"markersize": 3, "markeredgecolor": MUTED},
            meanprops={"marker": "D", "markersize": 5, "markerfacecolor": "white", "markeredgecolor": INK},
        )  # fmt: skip
        for box, color in zip(boxes["boxes"], (BLUE, ORANGE), strict=False):
            box.set(facecolor=color, alpha=0.5)
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    finish_axes(axes, "Digits against others" + ("" if welch is None else f": Welch's {welch.shown}"))
    axes.set_xlabel("|difference of the probabilities|, mean as a diamond", color=MUTED, fontsize=9)


def _probabilities(axes: Axes, tokens: Sequence[DivergentToken]) -> None:
    drawn = [
        (x.rollout_prob, x.actor_prob, OF_FLIP.get(x.flip or "", MUTED))
        for x in tokens
        if x.rollout_prob is not None and x.actor_prob is not None
    ]
    rollout, actor, colors = zip(*drawn, strict=True)
    axes.scatter(rollout, actor, s=14, c=colors, alpha=0.6, linewidths=0)
    axes.plot([0, 1], [0, 1], color=GRID, linewidth=1.5, zorder=0)
    finish_axes(axes, "Both probabilities")
    axes.set_xlabel("sampler's probability", color=MUTED, fontsize=9)
    axes.set_ylabel("trainer's probability", color=MUTED, fontsize=9)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)


def _top(axes: Axes, tokens: Sequence[DivergentToken]) -> None:
    top = most_divergent([token for token in tokens if token.shown], MOST_BARS)
    for index, token in enumerate(top):
        length = 1.0 if token.divergence is None else token.divergence
        axes.barh(index, length, color=OF_ANSWER[_answer(token)], height=0.7)
        where = "" if token.iteration is None else f"iteration {token.iteration}, "
        figure = "not finite" if token.divergence is None else f"{length:.3f}"
        note = f" {figure} ({where}position {token.position})"
        axes.annotate(note, (length, index), va="center", color=INK, fontsize=9)
    _name_bars(axes, [token.shown or "" for token in top])
    finish_axes(axes, "Most divergent tokens, by their answer")
    hide_scale(axes)
    axes.set_xlim(0, 2.1)


def _name_bars(axes: Axes, names: Sequence[str]) -> None:
    most_lines = 2 if len(names) <= MOST_BARS // 2 else 1
    labels = []
    for name in names:
        lines = textwrap.wrap(drawable(name), LONGEST_LABEL, drop_whitespace=False) or [""]
        if len(lines) > most_lines:
            lines = [*lines[: most_lines - 1], f"{lines[most_lines - 1][: LONGEST_LABEL - 3]}..."]
        labels.append("\n".join(line.rstrip() for line in lines))
    axes.set_yticks(range(len(names)), labels)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.set_ylim(max(len(names), FEWEST_BARS) - 0.4, -0.6)


def _answer(token: DivergentToken) -> str:
    return UNKNOWN if token.is_correct is None else ANSWERS[not token.is_correct]


def finish_axes(axes: Axes, title: str) -> None:
    """Gives a plot its title, and the looks of all plots.

    Example:
        >>> from matplotlib.figure import Figure
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

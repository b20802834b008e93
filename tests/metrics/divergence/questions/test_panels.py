# SPDX-License-Identifier: Apache-2.0
"""The panels show what the tables count, and shorten what is too long for them."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from ntl_jax.metrics.divergence.questions import panels
from ntl_jax.metrics.divergence.questions.answers import answer
from ntl_jax.metrics.divergence.questions.panels import draw_iterations, drawable, small_panels
from ntl_jax.metrics.divergence.questions.token import read_token
from tests.divergence_lines import line, lines


def drawn(rows):
    """The panels by title."""
    plots = []
    for draw in small_panels(answer([read_token(row) for row in rows], top=10)):
        plots.append(Figure().add_subplot())
        draw(plots[-1])
    return {axes.get_title(loc="left"): axes for axes in plots}


def labels(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_bars_are_as_long_as_the_counts_and_say_share_and_mean():
    axes = drawn(lines())["In which answers"]
    assert [bar.get_width() for bar in axes.patches] == [16, 4]
    assert labels(axes) == ["correct", "incorrect"]
    assert axes.texts[0].get_text().strip() == "16 (80%, mean 0.68)"


def test_every_token_is_a_point_over_the_iterations_and_another_of_both_probabilities():
    axes = Figure().add_subplot()
    draw_iterations(axes, [read_token(row) for row in lines()])
    assert sum(np.shape(points.get_offsets())[0] for points in axes.collections) == 20
    (points,) = drawn([*lines(), line(flip_type="a user's own")])["Both probabilities"].collections
    assert np.shape(points.get_offsets()) == (21, 2)


def test_a_side_without_divergences_has_no_box():
    assert labels(drawn(lines()[:3])["Digits against others"]) == ["digits (3)"]


@pytest.mark.parametrize(("count", "most_lines"), [(5, 2), (6, 1)])
def test_long_labels_take_two_lines_where_there_is_room(count, most_lines):
    axes = Figure().add_subplot()
    panels._name_bars(axes, ["a name that is longer than any label may be"] * count)
    for label in labels(axes):
        assert label.endswith("...") and label.count("\n") == most_lines - 1
        assert max(map(len, label.split("\n"))) <= panels.LONGEST_LABEL


def test_what_the_font_does_not_have_is_escaped():
    assert drawable("2 × 中\x1b") == r"2 × \u4e2d\x1b"

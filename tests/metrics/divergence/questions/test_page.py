# SPDX-License-Identifier: Apache-2.0
"""The page of figures: whatever a log holds can be drawn, and nothing is cut or covered."""

import itertools

from matplotlib.text import Text

from ntl_jax.metrics.divergence.questions import page
from ntl_jax.metrics.divergence.questions.answers import answer
from ntl_jax.metrics.divergence.questions.page import draw_page, is_page
from ntl_jax.metrics.divergence.questions.token import DivergentToken, read_token
from tests.divergence_lines import line, lines


def of(rows):
    return answer([read_token(row) for row in rows], top=10)


def titles(answers):
    return [axes.get_title(loc="left") for axes in page._figure(answers, "run").axes]


def test_every_question_has_a_panel():
    assert [title.partition(":")[0] for title in titles(of(lines()))] == [
        "Diagnosis", "20 divergent tokens", "Where in the response", "Tokens from the start", "Tokens from the end",
        "In which answers", "Digits against others", "Digits in which answers", "Which side was sure",
        "Both probabilities", "Which kind of token", "Age of the weights", "Which tokens, the most frequent",
        "Most divergent tokens, by their answer",
    ]  # fmt: skip


def test_panels_without_data_are_left_out():
    assert titles(answer([DivergentToken(0.8, 0)], top=1)) == ["Diagnosis", "Tokens from the start"]


def beyond_the_ends(figure):
    """Labels that axes keep for places beyond their ends, and do not draw."""
    axis_objects = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    pairs = [
        (axis, *pair) for axis in axis_objects for pair in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
    ]
    return [
        label
        for axis, place, label in pairs
        if not min(axis.get_view_interval()) <= place <= max(axis.get_view_interval())
    ]


def test_no_text_leaves_the_page_or_covers_another_text():
    odd = {"token_text": "a very long token indeed", "flip_type": "a_flip_that_nobody_has_heard_of_so_far"}
    figure = page._figure(of([*lines(), *(line(i, **odd) for i in range(20))]), "runs/mine, " * 30)
    figure.draw_without_rendering()
    texts = [x for x in figure.findobj(Text) if isinstance(x, Text) and x.get_visible() and x.get_text().strip()]
    boxes = {text: text.get_window_extent() for text in texts if text not in beyond_the_ends(figure)}
    width, height = figure.bbox.width, figure.bbox.height
    outside = [x.get_text() for x, b in boxes.items() if b.x0 < 0 or b.y0 < 0 or b.x1 > width or b.y1 > height]
    assert outside == []
    pairs = [(a.get_text(), b.get_text()) for a, b in itertools.combinations(boxes, 2) if boxes[a].overlaps(boxes[b])]
    assert pairs == []


def test_texts_of_tokens_and_titles_are_drawn_as_they_are():
    texts = [r"$\frac{$", "中\U0001f600", "a\x1b[2J\u202eb", "", "x" * 300, "_^"]
    answers = of([line(i, token_text=text, flip_type=text, token_kind=text) for i, text in enumerate(texts)])
    assert draw_page(answers, " ".join(texts[:3])).startswith(b"\x89PNG")


def test_a_log_without_a_finite_divergence_is_drawn():
    assert draw_page(answer([DivergentToken(None, 0, iteration=1, text="7", is_digit=True)], 1), "run")


def test_only_pages_are_taken_for_pages(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(draw_page(of(lines()), "run"))
    assert is_page(path)
    for content in (b"", b"notes", b"\x89PNG" + bytes(2000)):
        path.write_bytes(content)
        assert not is_page(path)

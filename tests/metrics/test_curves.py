# SPDX-License-Identifier: Apache-2.0
"""The page of curves: whatever a run wrote can be drawn, and what it did not write leaves no empty axes."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from ntl_jax.metrics import MetricWriter, curves
from ntl_jax.metrics.curves import plot_curves

WARM_START = [
    ("warm_start", 1, {"warm_start/cross_entropy": 3.0}),
    ("warm_start", 2, {"warm_start/cross_entropy": 2.0}),
]
PPO = [("ppo", step, {"critic/score/mean": 0.1 * step, "ntl/loss": 3.0 - step}) for step in range(60)]
EVALUATIONS = [
    ("warm_start", 2, {"val/accuracy": 0.2}),
    ("ppo", 0, {"val/accuracy": 0.2}),
    ("ppo", 9, {"val/accuracy": 0.4}),
]


def draw(folder, rows):
    with MetricWriter(folder) as writer:
        for row in rows:
            writer.write(*row)
    plot_curves(folder / "metrics.jsonl", folder / "curves.png")


@pytest.mark.parametrize("rows", [WARM_START, PPO, EVALUATIONS, EVALUATIONS[:1], [*WARM_START, *PPO, *EVALUATIONS]])
def test_a_run_of_any_shape_can_be_drawn(tmp_path, rows):
    draw(tmp_path, rows)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_metrics_without_a_value_are_gaps(tmp_path):
    draw(tmp_path, [("ppo", 1, {"ntl/loss": float("nan")}), ("ppo", 2, {"ntl/loss": 1.0})])
    assert (tmp_path / "curves.png").exists()


def test_panels_without_data_are_left_out():
    page = curves._page({("warm_start", "warm_start/cross_entropy"): ([1, 2], [3.0, 2.0])}, "run")
    titles = [axes.get_title(loc="left") for axes in page.axes]
    assert titles == ["Held-out accuracy, greedy decoding", "Losses of the warm start"]


def test_a_run_without_metrics_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no metrics"):
        draw(tmp_path, [])


def test_more_evaluations_than_fit_keep_the_last_one_labelled():
    axes = Figure().add_subplot()
    steps = list(range(50))
    curves._draw_accuracy(axes, {("ppo", "val/accuracy"): (steps, [step / 100 for step in steps])})
    labels = [text.get_text() for text in axes.texts]
    assert len(labels) <= curves.MOST_LABELS and "49.0%" in labels


def test_a_stage_without_an_evaluation_at_its_start_goes_on_from_the_stage_before():
    axes = Figure().add_subplot()
    curves._draw_accuracy(
        axes, {("warm_start", "val/accuracy"): ([300], [0.2]), ("ppo", "val/accuracy"): ([40, 80], [0.3, 0.4])}
    )
    assert np.asarray(axes.lines[1].get_xydata()).tolist() == [[1.0, 0.2], [1.5, 0.3], [2.0, 0.4]]


@pytest.mark.parametrize("name", [r"$\frac{$", "a\x1b[2J\u202eb", "<script>", "[bold]"])
def test_the_name_of_the_folder_is_shown_as_it_is(tmp_path, name):
    (tmp_path / name).mkdir()
    draw(tmp_path / name, [("ppo", 0, {"val/accuracy": 0.3})])
    assert (tmp_path / name / "curves.png").read_bytes().startswith(b"\x89PNG")

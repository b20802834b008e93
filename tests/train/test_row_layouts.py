# SPDX-License-Identifier: Apache-2.0
"""An iteration learns the same whatever the layout of its rows."""

import jax
import numpy as np
import pytest

from ntl_jax.config import CorrectionSection, KLSection, OptimizerSection

EVERYTHING = {
    "algorithm": {
        "objective": "gspo",
        "minibatches": 2,
        "old_log_probs": "recompute",
        "correction": CorrectionSection(weights="truncated", high=2.0),
        "kl": KLSection(weight=0.1),
        "optimizer": OptimizerSection(name="adamw", learning_rate=1e-3, warmup_steps=0),
    },
    "ntl": {"extract_during_generation": False},
}
"""Old and reference log-probs and digits are passes over the rows, and so are the updates."""


def one_iteration(setup, row_layout: str):
    trainer = setup.changed(**EVERYTHING, trainer={"row_layout": row_layout}).trainer()
    metrics, _ = trainer.step()
    return jax.device_get(trainer.state.params), metrics


def test_an_iteration_with_shared_prompts_moves_the_policy_and_reports_as_padded_rows_do(setup):
    (params, metrics), (expected, of_padded) = (one_iteration(setup, kind) for kind in ("shared", "padded"))
    pairs = zip(*map(jax.tree.leaves, (params, expected)), strict=True)
    # Adam divides each gradient by its size: rounding counts most where a gradient is near 0.
    assert np.sqrt(sum(np.sum((a - b) ** 2) for a, b in pairs)) < 2e-4
    timeless = {k for k in of_padded if not k.startswith(("timing_s/", "perf/"))}
    assert {k for k in metrics if not k.startswith(("timing_s/", "perf/"))} == timeless
    for name in timeless - {"actor/first_ratio_deviation", "actor/ratio_deviation"}:
        assert metrics[name] == pytest.approx(of_padded[name], rel=2e-3, abs=2e-5), name
    assert metrics["actor/first_ratio_deviation"] < 1e-4

# SPDX-License-Identifier: Apache-2.0
"""Evaluations with a real engine: the metrics are those of the responses that are written down."""

import dataclasses

import numpy as np
import pytest
from flax import nnx

from ntl_jax.records import Version
from ntl_jax.train.evaluation import evaluate, evaluation_metrics, examples
from ntl_jax.train.factory import assemble


@pytest.fixture(scope="module")
def parts(tiny):
    """Of its own: trainers take the parameters of theirs with them."""
    return assemble(tiny)


def evaluated(parts, **settings):
    trainer = dataclasses.replace(parts.config.trainer, **settings)
    parts = dataclasses.replace(parts, config=dataclasses.replace(parts.config, trainer=trainer))
    evaluation = evaluate(parts, nnx.merge(parts.graph, parts.params), version=Version(0))
    return evaluation_metrics(evaluation), list(examples(evaluation))


@pytest.fixture(scope="module")
def sampled(parts):
    return evaluated(parts, eval_samples=4)


def test_metrics_are_those_of_the_written_examples(sampled):
    metrics, rows = sampled
    assert len(rows) == metrics["val/num_problems"] == 8
    assert metrics["val/accuracy"] == np.mean([row["correct"] for row in rows])
    assert metrics["val/mean@4"] == np.mean([[s["correct"] for s in row["samples"]] for row in rows])
    assert metrics["val/pass@4"] == np.mean([any(s["correct"] for s in row["samples"]) for row in rows])
    assert {"val/pass@2", "val/maj@4", "val/score/mean"} <= metrics.keys()
    assert all(row["response"] != row["samples"][0]["response"] for row in rows)


def test_the_same_policy_gives_the_same_evaluation(parts, sampled):
    assert evaluated(parts, eval_samples=4) == sampled


def test_samples_near_temperature_zero_are_the_greedy_response(parts):
    metrics, rows = evaluated(parts, eval_samples=4, eval_temperature=1e-5)
    for row in rows:
        assert [sample["response"] for sample in row["samples"]] == [row["response"]] * 4
    assert metrics["val/mean@4"] == metrics["val/pass@2"] == metrics["val/accuracy"]


def test_without_samples_there_are_greedy_metrics_only(parts, sampled):
    metrics, rows = evaluated(parts)
    assert metrics.keys() == {name for name in sampled[0] if "@" not in name}
    assert rows == [row | {"samples": []} for row in sampled[1]]

# SPDX-License-Identifier: Apache-2.0
"""Evaluations: with a real engine, the metrics are those of the responses that are written down."""

import dataclasses

import numpy as np
import pytest

from ntl_jax.metrics.names import meaning
from ntl_jax.records import Version, Weights
from ntl_jax.train.evaluation import Evaluation, Evaluator, evaluation_metrics, evaluation_rows, unrewarded
from ntl_jax.train.factory import build_evaluator
from tests.engines import FakeEngine
from tests.samples import answering, lose, respond


def evaluator(setup, engine=None, **settings) -> Evaluator:
    config = dataclasses.replace(setup.config, trainer=dataclasses.replace(setup.config.trainer, **settings))
    return build_evaluator(config, setup.policy, setup.prompts, engine or setup.engine, setup.scorer, setup.digits)


def evaluated(setup, **settings):
    evaluation = evaluator(setup, **settings)(Weights(Version(0), setup.initial))
    return evaluation_metrics(evaluation), list(evaluation_rows(evaluation))


@pytest.fixture(scope="module")
def sampled(setup):
    return evaluated(setup, eval_samples=4)


@pytest.mark.slow
def test_metrics_are_those_of_the_written_examples(sampled):
    metrics, rows = sampled
    assert len(rows) == metrics["val/num_problems"] == 8
    assert metrics["val/accuracy"] == np.mean([row["correct"] for row in rows])
    assert metrics["val/mean@4"] == np.mean([[s["correct"] for s in row["samples"]] for row in rows])
    assert metrics["val/pass@4"] == np.mean([any(s["correct"] for s in row["samples"]) for row in rows])
    assert {"val/pass@2", "val/maj@4", "val/score/mean"} <= metrics.keys()
    assert all(row["response"] != row["samples"][0]["response"] for row in rows)


@pytest.mark.slow
def test_the_same_policy_gives_the_same_evaluation(setup, sampled):
    assert evaluated(setup, eval_samples=4) == sampled


@pytest.mark.slow
def test_samples_near_temperature_zero_are_the_greedy_response(setup):
    metrics, rows = evaluated(setup, eval_samples=4, eval_temperature=1e-5)
    for row in rows:
        assert [sample["response"] for sample in row["samples"]] == [row["response"]] * 4
    assert metrics["val/mean@4"] == metrics["val/pass@2"] == metrics["val/accuracy"]


@pytest.mark.slow
def test_without_samples_there_are_greedy_metrics_only(setup, sampled):
    metrics, rows = evaluated(setup)
    assert metrics.keys() == {name for name in sampled[0] if "@" not in name}
    assert rows == [row | {"samples": []} for row in sampled[1]]


def test_accuracy_and_agreement_are_of_what_was_answered(setup):
    """Of four samples of each problem three are right; the greedy response is right for every other problem."""

    def answer(request, index):
        greedy = request.sampling.temperature == 0
        is_right = request.prompt.index % 2 == 0 if greedy else index < 3
        return f"#### {request.prompt.ground_truth}" if is_right else "nothing"

    engine = answering(answer)
    metrics = evaluation_metrics(evaluator(setup, engine, eval_samples=4)(Weights(Version(0), setup.initial)))
    expected = {"val/accuracy": 0.5, "val/answered": 0.5, "val/mean@4": 0.75, "val/maj@4": 1.0, "val/pass@2": 1.0}
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)


def test_errors_are_those_of_the_numbers_that_were_answered(setup):
    """Every answer is a tenth too large; with a text as the truth there is none to compare with."""
    engine = answering(lambda request, index: f"#### {1.1 * int(request.prompt.ground_truth):.1f}")
    evaluation = evaluator(setup, engine)(Weights(Version(0), setup.initial))
    metrics = evaluation_metrics(evaluation)
    assert metrics["val/median_relative_error"] == pytest.approx(0.1)
    assert metrics["val/smape"] == pytest.approx(0.1 / 2.1)
    prompts = [dataclasses.replace(prompt, ground_truth="Paris") for prompt in evaluation.greedy.prompts]
    without = evaluation_metrics(Evaluation(evaluation.greedy._replace(prompts=prompts), None))
    assert without.keys() == metrics.keys() - {"val/smape", "val/median_relative_error"}


def test_each_of_several_sources_has_an_accuracy_of_its_own(setup):
    engine = answering(
        lambda request, index: f"#### {request.prompt.ground_truth if request.prompt.index % 2 else 'no'}"
    )
    evaluation = evaluator(setup, engine)(Weights(Version(0), setup.initial))
    assert not [name for name in evaluation_metrics(evaluation) if name.count("/") > 1 and name.endswith("/accuracy")]
    names = {0: "openai/gsm8k", 1: "my sums"}
    prompts = [dataclasses.replace(p, data_source=names[p.index % 2]) for p in evaluation.greedy.prompts]
    metrics = evaluation_metrics(Evaluation(evaluation.greedy._replace(prompts=prompts), None))
    assert (metrics["val/openai/gsm8k/accuracy"], metrics["val/my_sums/accuracy"]) == (0, 1)
    names = {0: (0, "a b"), 1: (0, "a_b"), 2: (1, "a b"), 3: (1, "c")}
    given = [(p, *names[p.index % 4]) for p in evaluation.greedy.prompts]
    prompts = [dataclasses.replace(p, source_index=index, data_source=name) for p, index, name in given]
    several = evaluation_metrics(Evaluation(evaluation.greedy._replace(prompts=prompts), None))
    assert [several[f"val/{name}/accuracy"] for name in ("a_b-1", "a_b-2", "a_b-3", "c")] == [0, 1, 0, 1]
    assert meaning("val/my_sums/accuracy") == meaning("val/openai/gsm8k/accuracy")


def test_lost_responses_are_wrong_and_have_no_score(setup):
    """Of the first problem everything is lost, of the others nothing."""

    def respond_to(request, index):
        if request.prompt.index == setup.prompts.held_out[0].index:
            return lose(request.prompt, index)
        return respond(request.prompt, f"#### {request.prompt.ground_truth}", index, sure=True)

    evaluation = evaluator(setup, FakeEngine(respond_to), eval_samples=2)(Weights(Version(0), setup.initial))
    metrics = evaluation_metrics(evaluation)
    expected = {"val/accuracy": 7 / 8, "val/answered": 7 / 8, "val/mean@2": 7 / 8, "val/pass@2": 7 / 8}
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert np.isfinite(metrics["val/score/mean"]) and np.isfinite(metrics["val/ntl_loss"])
    first = next(iter(evaluation_rows(evaluation)))
    assert [first[name] for name in ("response", "correct", "score", "finish_reason")] == ["", False, None, "lost"]


def test_nothing_is_lent_after_an_evaluation_and_both_kinds_of_responses_come_from_one_version(setup):
    engine = answering(lambda request, index: "#### 1")
    evaluator(setup, engine, eval_samples=2)(Weights(Version(3, "average"), setup.initial))
    assert engine.published == [Version(3, "average")] and not engine.lent
    assert {request.sampling.temperature for request in engine.submitted} == {0.0, 1.0}


def test_a_problem_whose_reward_fails_has_no_score_in_the_examples(setup):
    engine = answering(lambda request, index: "#### 1")
    greedy, _ = evaluator(setup, engine)(Weights(Version(0), setup.initial))
    failed = greedy.outcomes[0].failed("no reward")
    evaluation = Evaluation(greedy._replace(outcomes=[failed, *greedy.outcomes[1:]]), None)
    row = next(evaluation_rows(evaluation))
    assert row["score"] is None and row["error"] == "no reward"
    count = len(greedy.outcomes)
    assert unrewarded(evaluation) == f"1 of {count} responses of the evaluation have no reward; the first: no reward"
    assert unrewarded(Evaluation(greedy, None)) is None
    assert evaluation_metrics(evaluation)["val/score/mean"] == pytest.approx(greedy.scores[1:].mean())

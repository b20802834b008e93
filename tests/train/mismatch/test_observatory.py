# SPDX-License-Identifier: Apache-2.0
"""A run compares sampler and trainer in every iteration, and logs the tokens about which they disagree."""

import dataclasses
import json
import logging

import numpy as np
import pytest

from ntl_jax.metrics import Clock
from ntl_jax.metrics.divergence.log import DivergenceLog
from ntl_jax.records import Trajectory
from ntl_jax.train.factory import ppo_trainer
from ntl_jax.train.mismatch import observatory
from ntl_jax.train.mismatch.observatory import Observatory
from ntl_jax.train.mismatch.trainer_pass import TrainerPass
from tests.train.mismatch.faulty_engine import FaultyEngine

PREFIX = "training/rollout_probs_diff"


class Changing(FaultyEngine):
    """The log-prob of one token of the first sample is another one."""

    def _returned(self, trajectory: Trajectory) -> Trajectory:
        log_probs = trajectory.rollout_log_probs.copy()
        if (trajectory.sample_index, trajectory.draw) == (0, self.draw):
            log_probs[2] = np.log(0.95)
        return dataclasses.replace(trajectory, rollout_log_probs=log_probs)

    def submit(self, requests) -> None:
        self.draw = requests[0].prompt.draw
        super().submit(requests)


def stepped(setup, log=None, engine=None, iterations=1) -> list[tuple]:
    parts = (
        setup.config,
        setup.policy,
        setup.params(),
        setup.prompts,
        engine or setup.engine,
        setup.scorer,
        setup.digits,
    )
    trainer = ppo_trainer(*parts, log)
    return [trainer.step() for _ in range(iterations)]


@pytest.mark.parametrize("layout", ["padded", "packed", "shared"])
def test_a_planted_divergence_is_found_ranked_first_and_classified_in_every_layout(setup, layout, tmp_path, caplog):
    """Also where only the rows of the first minibatch are compared: here it holds all."""
    changed = setup.changed(
        trainer={"row_layout": layout}, algorithm={"minibatches": 1}, divergence={"every": 7, "threshold": 0.7}
    )
    log = DivergenceLog(tmp_path / "log" / "{iteration}.jsonl")
    with caplog.at_level(logging.WARNING, "ntl_jax.divergence"):
        (_, _), (metrics, samples) = stepped(changed, log, Changing(setup.engine), iterations=2)
    scored, actor = samples.scored, samples.actor
    assert metrics[f"{PREFIX}_max"] > 0.7 and metrics[f"{PREFIX}_valid"] == 1
    lines = [json.loads(line) for line in (tmp_path / "log" / "2.jsonl").read_text().splitlines()]
    assert len(lines) == 5 and [line["rank"] for line in lines] == list(range(5))
    first, response = lines[0], scored.trajectories[0]
    assert (first["iteration"], first["batch_idx"], first["position"]) == (2, 0, 2)
    assert first["token_id"] == response.response_ids[2]
    assert first["flip_type"] == "rollout_confident_actor_rejects"
    assert first["rollout_prob"] == pytest.approx(0.95) and first["prompt_text"] == scored.prompts[0].text
    assert first["position_from_end"] == len(response.response_ids) - 3
    assert first["policy_version"] == 2 and first["staleness"] == 0
    assert len(first["actor_alternatives"]) == 5 and first["actor_entropy"] > 0
    assert first["rollout_digit_logprobs"] == pytest.approx(response.digit_log_probs[2].tolist())
    assert "most divergent tokens" in caplog.text and repr(first["token_text"]) in caplog.text
    # The other tokens agree, wherever the layout put them.
    assert all(line["prob_divergence"] < 1e-4 for line in lines[1:])
    for row, trajectory in enumerate(scored.trajectories):
        size, expected = len(trajectory.response_ids), trajectory.rollout_log_probs.copy()
        if row == 0:
            expected[2] = actor.log_probs[0, 2]
        np.testing.assert_allclose(actor.log_probs[row, :size], expected, atol=1e-4)
        assert np.isfinite(actor.entropy[row, :size]).all() and np.isnan(actor.log_probs[row, size:]).all()


def test_of_weights_that_are_not_kept_the_entropy_at_a_token_is_known_and_its_alternatives_are_not(
    setup, tmp_path, monkeypatch
):
    monkeypatch.setattr(observatory, "KEPT_BYTES", 0)
    changed = setup.changed(algorithm={"minibatches": 1}, divergence={"every": 7, "threshold": 0.7})
    stepped(changed, DivergenceLog(tmp_path / "{iteration}.jsonl"), Changing(setup.engine), iterations=2)
    all_compared, first_minibatch = (json.loads((tmp_path / f"{i}.jsonl").read_text().splitlines()[0]) for i in (1, 2))
    assert len(all_compared["actor_alternatives"]) == 5 and first_minibatch["actor_alternatives"] is None
    assert all_compared["actor_entropy"] > 0 and first_minibatch["actor_entropy"] > 0


def test_only_the_first_minibatch_is_compared_between_the_iterations_that_compare_all(setup):
    changed = setup.changed(algorithm={"minibatches": 4}, divergence={"every": 2})
    counts = [metrics[f"{PREFIX}_tokens"] for metrics, _ in stepped(changed, iterations=3)]
    sampled = [
        sum(len(t.response_ids) for t in samples.scored.trajectories) for _, samples in stepped(changed, iterations=3)
    ]
    assert counts[0] == sampled[0] and counts[2] == sampled[2] and 0 < counts[1] < sampled[1] / 2


def test_recomputed_log_probs_compare_all_samples_and_the_applied_weights_have_the_name(setup):
    changed = setup.changed(algorithm={"old_log_probs": "recompute"}, divergence={"every": 50})
    (_, _), (metrics, samples) = stepped(changed, iterations=2)
    assert metrics[f"{PREFIX}_tokens"] == sum(len(t.response_ids) for t in samples.scored.trajectories)
    assert metrics["rollout_corr/rollout_is_eff_sample_size"] == pytest.approx(1.0, abs=1e-4)


def test_switched_off_it_leaves_no_trace_and_changes_no_update(setup):
    off = setup.changed(divergence={"enabled": False})
    ((metrics, _),), ((with_it, _),) = stepped(off), stepped(setup)
    assert not [name for name in metrics if name.startswith(("training/", "mismatch/", "alarm/"))]
    assert metrics["actor/param_norm"] == with_it["actor/param_norm"]


@pytest.fixture(scope="module")
def stale(setup):
    """The observatory of a run with staleness 1, the newest weights, and samples of those before, with a probe."""
    config = dataclasses.replace(
        setup.config, rollout=dataclasses.replace(setup.config.rollout, engine="pool", max_staleness=1)
    )
    trainer = setup.trainer()
    samples = trainer._source.samples(0, trainer.state.params["policy"], Clock())
    rows, experience, _ = trainer._build(setup.initial, None, samples, 0.0, Clock())
    trainer._update(rows, experience)
    newest = trainer.state.params["policy"]
    probe = trainer._source.samples(1, newest, Clock()).scored.trajectories
    passes = TrainerPass(
        setup.policy, setup.prompts.shape(config.rollout.max_tokens), temperature=1.0, max_tokens=16_384
    )
    return Observatory(config, passes, None), newest, samples._replace(probe=probe), experience


def test_what_older_weights_do_is_told_apart_from_what_the_engine_does_and_is_no_alarm(stale):
    watch, newest, samples, experience = stale
    watch.begin(1, newest, samples._replace(probe=()), experience)
    assert watch.end() == {}  # no update has told what the trainer thinks
    watch.begin(0, newest, samples, experience)
    metrics = watch.end()
    assert metrics["mismatch/engine/mean"] < 1e-6 < 1e-4 < metrics["mismatch/staleness/mean"]
    assert not [name for name in metrics if name.startswith("alarm/")]
    assert metrics["mismatch/staleness/kl"] == metrics["rollout_corr/kl"] - metrics["mismatch/engine/kl"]


def test_samples_that_are_older_than_allowed_are_an_alarm_also_without_an_update(stale):
    watch, newest, samples, experience = stale
    watch.begin(3, newest, samples._replace(probe=()), experience)
    assert watch.end() == {"alarm/lost_update": 1.0}


def test_kinds_of_tokens_are_told_apart(setup):
    ((metrics, samples),) = stepped(setup)
    kinds = np.concatenate([reading.kinds for reading in samples.scored.readings])
    names = ("answer_digits", "digits", "operators", "other")
    assert {name for name in names if f"mismatch/{name}/kl" in metrics} == {names[k] for k in np.unique(kinds)}
    assert metrics["mismatch/engine/max"] == metrics[f"{PREFIX}_max"] < 1e-3

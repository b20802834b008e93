# SPDX-License-Identifier: Apache-2.0
"""A prompt that occurs twice in an iteration is two draws, each with its own samples and group."""

import dataclasses

import numpy as np
import pytest

from ntl_jax.config import RolloutSection
from ntl_jax.data import DataCursor
from ntl_jax.experience.collector import STREAM, Collector, Samples
from ntl_jax.metrics import Clock
from ntl_jax.records import Version, Weights
from ntl_jax.train.factory import assemble, check_training, ppo_trainer

NUM_PROMPTS = 6
# With this seed the second iteration of four prompts spans two epochs and draws one of the six prompts twice.
SEED = next(
    seed
    for seed in range(100)
    for cursor in [DataCursor(NUM_PROMPTS, 4, seed=seed + STREAM)]
    if len(set(cursor.next())) == 4 and len(set(cursor.next())) == 3
)


@pytest.fixture(scope="module")
def parts(tiny_parts):
    config = dataclasses.replace(tiny_parts.config, seed=SEED)
    prompts = tiny_parts.train_prompts[:NUM_PROMPTS]
    return dataclasses.replace(tiny_parts, config=config, train_prompts=prompts, params=assemble(config).params)


@pytest.fixture(scope="module")
def trainer(parts):
    return ppo_trainer(parts, parts.params)


def test_equal_prompts_in_an_iteration_have_different_draws_and_samples(trainer):
    collect = Collector(trainer.config, trainer.prompts, trainer.engine, trainer.scorer, trainer.sampling)
    first, second = (collect(trainer.decoder(), 0, Clock()).scored for _ in range(2))
    assert [t.draw for t in first.trajectories] == [p.index for p in first.prompts]
    draws = np.array([t.draw for t in second.trajectories]).reshape(4, 4)[:, 0]
    indices = np.array([p.index for p in second.prompts]).reshape(4, 4)[:, 0]
    assert draws.tolist() == [*indices[:2], *(NUM_PROMPTS + indices[2:])]
    assert len(set(indices)) == 3 and len(set(draws)) == 4
    twins = np.flatnonzero(indices == indices[np.argmax(np.bincount(indices)[indices])]).tolist()
    responses = [[second.trajectories[4 * row + i].response_ids.tolist() for i in range(4)] for row in twins]
    assert responses[0] != responses[1]


def test_draws_are_distinct_if_problems_were_left_out(trainer):
    """Six of ten problems remain: those after a gap keep their indices in every epoch."""
    prompts = [
        dataclasses.replace(p, index=i, draw=i) for p, i in zip(trainer.prompts, (0, 1, 5, 7, 8, 9), strict=True)
    ]
    collect = Collector(trainer.config, prompts, trainer.engine, trainer.scorer, trainer.sampling)
    draws = [t.draw for _ in range(3) for t in collect(trainer.decoder(), 0, Clock()).scored.trajectories[::4]]
    assert len(set(draws)) == 12
    assert {draw % 10 for draw in draws} == {0, 1, 5, 7, 8, 9}


@pytest.mark.parametrize("advantage", ["group", "leave_one_out", "optimal_baseline", "reinforce_plus_plus_baseline"])
def test_a_baseline_uses_only_the_samples_of_its_draw(parts, advantage):
    """Two draws of a question: four samples with reward 10, and four with rewards 1, 0, 0, 0."""
    algorithm = dataclasses.replace(parts.config.algorithm, advantage=advantage, normalize_groups=False)
    config = dataclasses.replace(parts.config, algorithm=algorithm)
    trainer = ppo_trainer(dataclasses.replace(parts, config=config), parts.params)
    prompt = trainer.prompts[0]
    twins = [prompt, dataclasses.replace(prompt, draw=prompt.draw + NUM_PROMPTS)]
    trainer.engine.publish(Weights(Version(0), trainer.state.policy.params))
    trajectories = trainer.engine.generate(twins, trainer.sampling, seed=0)
    trainer.engine.retract()
    scored = trainer.scorer(twins, trajectories)
    scores = [10.0] * 4 + [1.0, 0.0, 0.0, 0.0]
    outcomes = [o._replace(score=s) for o, s in zip(scored.outcomes, scores, strict=True)]
    samples = Samples(scored._replace(outcomes=outcomes), np.ones(8, bool), None, {})
    batch = trainer.experience(trainer.state.policy.params, None, samples, 0.0, Clock())[0]
    found = np.asarray(batch.advantages)[:, 0]
    expected = {"group": [0.75, -0.25, -0.25, -0.25], "leave_one_out": [1, -1 / 3, -1 / 3, -1 / 3]}
    if advantage in expected:
        np.testing.assert_allclose(found, [0, 0, 0, 0, *expected[advantage]], atol=1e-5)
    assert len(set(np.round(found[:4], 4))) == 1 and found[4] > found[5]


def test_more_prompts_per_iteration_than_in_the_data_are_refused(tiny):
    rollout = RolloutSection(prompts_per_step=8, num_samples=4, max_tokens=24)
    config = dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, num_train=4), rollout=rollout)
    with pytest.raises(ValueError, match=r"rollout.prompts_per_step=8: exceeds the data.num_train=4 problems"):
        config.validate()


def test_more_prompts_in_an_iteration_than_a_file_holds_is_refused(parts):
    few = dataclasses.replace(parts, train_prompts=parts.train_prompts[:3])
    with pytest.raises(ValueError, match=r"rollout.prompts_per_step=4: .* there are 3 training prompts; lower it"):
        check_training(few)

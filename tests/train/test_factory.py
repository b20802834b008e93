# SPDX-License-Identifier: Apache-2.0
"""From a configuration to what a run is made of: what is chosen, shared and refused."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from ntl_jax.config import DataSection, KLSection, NTLSection, RewardSection
from ntl_jax.data import load_tokenizer
from ntl_jax.rollout import JaxEngine
from ntl_jax.train.engines import build_engine
from ntl_jax.train.factory import build_evaluator, build_scoring, build_task, check_run, memory_uses
from ntl_jax.train.policy import build_policy


def with_rollout(config, **fields):
    return dataclasses.replace(config, rollout=dataclasses.replace(config.rollout, **fields))


def test_the_jax_engine_samples_all_of_an_iteration_at_once_unless_told_otherwise(setup):
    for slots, expected in ((None, 16), (4, 4)):
        config = with_rollout(setup.config, slots=slots)
        engine = build_engine(config, setup.policy, max_prompt_tokens=setup.prompts.longest)
        assert isinstance(engine, JaxEngine) and engine._setup.slots == expected
        engine.close()


def test_digits_are_captured_where_ntl_reads_them_and_evaluations_are_greedy(setup):
    def greedy(ntl: NTLSection):
        config = dataclasses.replace(setup.config, ntl=ntl)
        return build_evaluator(config, setup.policy, setup.prompts, setup.engine, setup.scorer, setup.digits)._greedy

    assert greedy(NTLSection()).capture_digits and not greedy(NTLSection(enabled=False)).capture_digits
    sampling = greedy(NTLSection())
    assert (sampling.num_samples, sampling.temperature, sampling.max_tokens) == (1, 0.0, 24)
    assert sampling.stop_token_ids == setup.policy.vocabulary.stop_token_ids


def test_references_are_numbers_unless_the_reward_function_is_ones_own(setup, tmp_path):
    paths = {"train": tmp_path / "texts.jsonl", "eval": tmp_path / "more_texts.jsonl"}
    for path in paths.values():
        path.write_text('{"question": "Which city?", "answer": "#### Paris"}\n')
    data = dataclasses.replace(setup.config.data, **{name: (str(path),) for name, path in paths.items()})
    mine = RewardSection(function="my_reward.py:score")
    config = dataclasses.replace(setup.config, data=data, reward=mine)
    ((problem,), _) = build_task(config).load("train")
    assert problem.ground_truth == "Paris"
    with pytest.raises(ValueError, match="must be a number, is 'Paris'"):
        build_task(dataclasses.replace(config, reward=RewardSection())).load("train")


def test_a_run_that_is_resumed_may_keep_one_file_for_training_and_evaluation(setup, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "2+3?", "answer": "#### 5"}\n')
    config = dataclasses.replace(setup.config, data=DataSection(train=(str(path),), eval=(str(path),)))
    with pytest.raises(ValueError, match=r"data.eval=.* is a source of data.train too"):
        build_task(config)
    assert len(build_task(config, new=False).load("train")[0]) == 1


def test_what_captures_nothing_and_computes_nothing_is_refused_for_tokens_of_several_digits(setup):
    tokenizer = load_tokenizer()
    tokenizer.add_tokens(["42"])
    policy, shape = build_policy(setup.config, tokenizer), setup.prompts.shape(24)
    config = dataclasses.replace(setup.config, ntl=NTLSection(extract_during_log_prob=False))
    with pytest.raises(ValueError, match="several digits as one token"):
        build_scoring(config, setup.task, policy, shape)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"rollout": {"prompts_per_step": 201}}, "prompts_per_step=201: must not exceed the data: there are 200"),
        ({"model": {"mesh": (4, 2, 1)}, "algorithm": {"minibatches": 4}}, "minibatches = 4: rows of an update must"),
        ({"trainer": {"row_layout": "shared"}, "algorithm": {"minibatches": 16}}, "a row of an update would hold one"),
        ({"model": {"mesh": (8, 1, 1)}, "warm_start": {"batch_size": 9}}, "warm_start.batch_size = 9: rows of an"),
    ],
    ids=["prompts", "rows of PPO", "rows to share", "rows of the warm start"],
)
def test_settings_that_do_not_fit_data_or_devices_are_named(setup, sections, message):
    config = dataclasses.replace(
        setup.config,
        **{name: dataclasses.replace(getattr(setup.config, name), **fields) for name, fields in sections.items()},
    )
    check_run(setup.config, setup.policy, setup.prompts)
    with pytest.raises(ValueError, match=message):
        check_run(config, build_policy(config), setup.prompts)


@pytest.mark.parametrize(
    ("algorithm", "copies"),
    [
        ({}, 4),
        ({"kl": KLSection(weight=0.1)}, 5),
        ({"advantage": "gae"}, 8),
        ({"advantage": "gae", "critic": "shared"}, 4),
    ],
)
def test_a_policy_whose_training_does_not_fit_in_memory_is_refused_by_its_sizes(setup, algorithm, copies, monkeypatch):
    config = dataclasses.replace(setup.config, algorithm=dataclasses.replace(setup.config.algorithm, **algorithm))
    num_bytes = copies * 4 * setup.policy.model.num_params
    monkeypatch.setattr("ntl_jax.train.policy.free_bytes", lambda mesh: num_bytes)
    check_run(config, setup.policy, setup.prompts)
    weights, state, *_ = memory_uses(config, setup.policy, setup.prompts)
    assert weights.num_bytes + state.num_bytes == num_bytes
    monkeypatch.setattr("ntl_jax.train.policy.free_bytes", lambda mesh: num_bytes - 1)
    with pytest.raises(ValueError, match=rf"model.width=32.*, {copies} arrays each.*GiB are there: lower these sizes"):
        check_run(config, setup.policy, setup.prompts)


def test_stages_that_are_left_out_are_not_checked(setup):
    config = with_rollout(setup.config, prompts_per_step=201)
    config = dataclasses.replace(config, trainer=dataclasses.replace(config.trainer, steps=0))
    assert check_run(config, setup.policy, setup.prompts) is None


def test_a_critic_of_its_own_begins_as_a_copy_of_the_policys_trunk_with_values_of_zero(setup):
    state = setup.changed(algorithm={"advantage": "gae"}).trainer().state
    critic = state.models["critic"].params
    chex.assert_trees_all_equal(critic["trunk"], setup.initial)
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(critic["value_head"]))
    pointers = [{leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(x)} for x in (critic, state.policy.params)]
    assert not pointers[0] & pointers[1]  # updates take the memory of both


def test_a_critic_on_the_policys_trunk_has_a_value_head_alone(setup):
    trainer = setup.changed(algorithm={"advantage": "gae", "critic": "shared"}).trainer()
    critic = trainer.state.models["critic"].params
    assert list(critic) == ["value_head"]
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(critic))
    whole = trainer._terms.critic_params(trainer.state.params)
    chex.assert_trees_all_equal(whole["trunk"], setup.initial)


def test_other_advantages_have_no_critic(setup):
    assert setup.trainer().state.models.keys() == {"policy"}


def test_there_is_a_reference_policy_only_where_the_divergence_has_a_weight(setup):
    assert setup.trainer()._build._reference is None
    reference = setup.changed(algorithm={"kl": KLSection(weight=0.1)}).trainer()._build._reference
    chex.assert_trees_all_equal(reference, setup.initial)

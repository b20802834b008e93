# SPDX-License-Identifier: Apache-2.0
"""Each fault that is planted between a real engine and the trainer is named within one iteration."""

import collections
import dataclasses

import jax
import numpy as np
from flax import nnx

from ntl_jax.records import Weights
from ntl_jax.rollout import JaxEngine
from tests.train.mismatch.faulty_engine import FaultyEngine


def alarms(setup, iterations: int = 2, **faults) -> list[list[str]]:
    """The alarms of each iteration with an engine of these faults."""
    trainer = dataclasses.replace(setup, engine=FaultyEngine(setup.engine, **faults)).trainer()
    steps = [trainer.step()[0] for _ in range(iterations)]
    return [[name.removeprefix("alarm/") for name in metrics if name.startswith("alarm/")] for metrics in steps]


def from_iteration(number: int, change):
    """Weights as they are, and in one iteration what ``change`` makes of them and those before."""
    before = []

    def changed(weights: Weights) -> Weights | None:
        before.append(jax.tree.map(lambda x: x.copy(), weights.params))
        return change(weights, before[-2]) if weights.version.iteration == number else weights

    return changed


def test_an_engine_without_a_fault_raises_no_alarm(setup):
    assert alarms(setup) == [[], []]


def test_a_sampler_at_another_temperature(setup):
    found = alarms(setup, 1, sampling=lambda sampling: dataclasses.replace(sampling, temperature=0.9))
    assert found == [["sampler_temperature"]]


def test_a_sampler_that_truncates(setup):
    found = alarms(setup, 1, sampling=lambda sampling: dataclasses.replace(sampling, top_p=0.9))
    assert found == [["sampler_truncation"]]


def test_a_tied_head_that_stays_what_it_was(setup):
    """The engine has a head of its own, which is set once."""
    model = dataclasses.replace(setup.policy.model, tie_embeddings=False)
    engine = JaxEngine(
        model, setup.policy.digits, mesh=setup.policy.mesh, slots=16, max_prompt_tokens=setup.prompts.longest
    )
    first = []

    def stale(weights: Weights) -> Weights:
        first.append(jax.tree.map(lambda x: x.copy(), weights.params["embedding"]))
        return Weights(weights.version, nnx.State({**weights.params, "unembedding": first[0]}))

    assert alarms(dataclasses.replace(setup, engine=engine), weights=stale) == [[], ["stale_head"]]


def test_weights_of_the_version_before_under_the_new_number(setup):
    weights = from_iteration(1, lambda weights, before: Weights(weights.version, before))
    assert alarms(setup, weights=weights) == [[], ["wrong_version"]]


def test_an_update_that_never_arrives(setup):
    assert alarms(setup, weights=from_iteration(1, lambda weights, before: None)) == [[], ["lost_update"]]


def test_a_tokenizer_with_two_ids_swapped_that_stand_in_every_prompt(setup):
    common = collections.Counter(i for prompt in setup.prompts.train for i in set(prompt.ids.tolist())).most_common()
    ids = [i for i, _ in common if i not in setup.policy.digits.ids][:2]
    assert alarms(setup, 1, swapped=(ids[0], ids[1])) == [["swapped_ids"]]


def test_a_tokenizer_with_two_digits_swapped(setup):
    """They stand in nearly every prompt, so that nearly every log-prob differs."""
    assert alarms(setup, 1, swapped=tuple(np.asarray(setup.policy.digits.ids)[[3, 7]].tolist())) == [["swapped_ids"]]


def test_a_tokenizer_with_two_other_ids_swapped(setup):
    """The policy is as sure of its tokens as a trained one."""
    setup = dataclasses.replace(setup, initial=jax.tree.map(lambda x: 3 * x, setup.initial))
    scored = setup.trainer().step()[1].scored
    in_prompts = {i for prompt in setup.prompts.train for i in prompt.ids.tolist()}
    sampled = collections.Counter(i for t in scored.trajectories for i in t.response_ids.tolist())
    common = [i for i, _ in sampled.most_common() if i not in in_prompts and i not in setup.policy.digits.ids]
    assert alarms(setup, 1, swapped=(common[0], common[1])) == [["swapped_ids"]]

# SPDX-License-Identifier: Apache-2.0
"""Trainers from a configuration: which settings each creator sets, and what is left of NTL where it has no weight."""

import dataclasses

import chex
import jax
import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ntl_jax.config import NTLSection
from ntl_jax.experience.builder import ExperienceBuilder
from ntl_jax.experience.collector import Samples
from ntl_jax.experience.scorer import Scorer
from ntl_jax.metrics import Clock
from ntl_jax.records import Batch, Experience, Rows, Targets, TokenWeights
from ntl_jax.rollout.jax.engine import JaxEngine
from ntl_jax.rows.layout import Layout
from ntl_jax.rows.padding import RowShape
from ntl_jax.train import (
    EXAMPLE_CONFIGS,
    create_all_tokens_ntl_trainer,
    create_final_answer_ntl_trainer,
    create_ntl_trainer,
    create_ppo_trainer,
    create_standard_trainer,
)
from ntl_jax.train.factory import build_scoring, build_task
from ntl_jax.train.policy import build_policy
from ntl_jax.update.objectives import NumberLoss, PolicyObjective
from ntl_jax.update.terms import PPOTerms
from ntl_jax.update.token_weights import policy_weights
from tests.samples import ask, respond

MADE = {
    "standard": (create_standard_trainer, {}, NTLSection(enabled=False)),
    "standard by the same call": (
        create_standard_trainer,
        {"weight": 0.5, "processor": None},
        NTLSection(enabled=False, weight=0.5),
    ),
    "ntl": (create_ntl_trainer, {"method": "wasserstein", "weight": 0.5}, NTLSection(method="wasserstein", weight=0.5)),
    "final": (create_final_answer_ntl_trainer, {"temperature": 0.5}, NTLSection(temperature=0.5)),
    "all": (create_all_tokens_ntl_trainer, {}, NTLSection(reward_mode="all_tokens")),
    "configured": (create_ppo_trainer, {}, NTLSection()),
    "with settings": (create_ppo_trainer, {"method": "wasserstein"}, NTLSection(method="wasserstein")),
    "against": (create_ppo_trainer, {"use_ntl": False}, NTLSection(enabled=False)),
    **{name: (create_ntl_trainer, settings, NTLSection(**settings)) for name, settings in EXAMPLE_CONFIGS.items()},
}


@pytest.fixture(scope="module")
def smallest(tiny):
    """One layer."""
    return dataclasses.replace(
        tiny,
        model=dataclasses.replace(tiny.model, num_layers=1, width=16, head_dim=8, feed_forward=32),
    )


@pytest.mark.parametrize("name", MADE)
def test_each_creator_makes_a_trainer_with_its_settings(smallest, name):
    make, settings, expected = MADE[name]
    config = make(smallest, **settings).config
    assert config.ntl == expected
    assert dataclasses.replace(config, ntl=smallest.ntl) == smallest


@pytest.mark.parametrize("enabled", [True, False])
def test_a_creator_overrides_what_the_configuration_says_of_ntl(smallest, enabled):
    config = dataclasses.replace(smallest, use_ntl_trainer=enabled, ntl=NTLSection(enabled=enabled))
    assert create_ppo_trainer(config).config.ntl.enabled is enabled
    assert create_ntl_trainer(config).config.ntl.enabled is True
    assert create_standard_trainer(config).config.ntl.enabled is False


def test_the_five_examples_have_their_names():
    assert set(EXAMPLE_CONFIGS) == {
        "final_answer_mode", "all_tokens_mode", "aggressive_ntl", "forgiving_ntl", "debug_mode",
    }  # fmt: skip
    assert EXAMPLE_CONFIGS["aggressive_ntl"]["temperature"] == 0.5
    assert EXAMPLE_CONFIGS["forgiving_ntl"]["temperature"] == 2.0


def test_a_setting_that_does_not_exist_is_answered_with_the_nearest(tiny):
    with pytest.raises(ValueError, match="no setting 'temprature': did you mean 'temperature'"):
        create_ntl_trainer(tiny, temprature=1.0)


@pytest.mark.parametrize("make", {make: None for make, *_ in MADE.values()})
def test_a_processor_is_refused(tiny, make):
    with pytest.raises(ValueError, match="processor='images': policies read text only"):
        make(tiny, None, "images")


def test_with_a_weight_of_zero_the_update_of_ntl_is_the_standard_program_bit_for_bit(smallest):
    """Samples, rewards and experience do not depend on NTL either: see the tests of engine, scorer and builder."""
    policy = build_policy(smallest)

    def program(ntl: NTLSection) -> str:
        terms = PPOTerms(dataclasses.replace(smallest, ntl=ntl), policy.table, policy.graph, None)
        (term,) = terms.of_update()

        def loss(params, batch):
            of_update = term.loss({"policy": params}, batch)
            return of_update.total, of_update.metrics

        return str(jax.make_jaxpr(jax.value_and_grad(loss, has_aux=True))(policy.shapes(), batch_of_nothing()))

    standard = program(NTLSection(enabled=False))
    assert program(NTLSection(weight=0.0)) == standard != program(NTLSection())


def batch_of_nothing() -> Batch[Experience]:
    """Two rows of six tokens, of which three are the response."""
    whole, response, numbers = np.zeros((2, 6), np.int32), np.zeros((2, 3), np.int32), np.zeros((2, 3), np.float32)
    targets = Targets(response, np.ones((2, 3), bool), numbers)
    return Batch(
        Rows(whole, whole, None, response), Experience(targets, numbers, numbers), TokenWeights(numbers, numbers)
    )


def with_long_numbers() -> PreTrainedTokenizerFast:
    """A tokenizer that writes up to two digits as one token."""
    pieces = ["<eos>", "#", "Ġ", "+", "=", "?", *(f"{n}" for n in range(10)), *(f"{n:02}" for n in range(100))]
    letters = sorted({*pre_tokenizers.ByteLevel.alphabet()} - set(pieces))
    vocab = {piece: i for i, piece in enumerate([*pieces, *letters])}
    merges = [(str(a), str(b)) for a in range(10) for b in range(10)]
    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")


def test_tokens_of_several_digits_train_in_the_same_way(smallest):
    """From what an engine gives, which captures nothing of such tokens, to the gradient of the policy's loss."""
    tokenizer = with_long_numbers()
    config = dataclasses.replace(smallest, ntl=NTLSection(method="wasserstein", reward_mode="hybrid"))
    policy, task, shape = build_policy(config, tokenizer), build_task(config), RowShape(32, 16)
    assert policy.table.kind == "numbers"
    rng, (scorer, digits) = np.random.default_rng(0), build_scoring(config, task, policy, shape)
    params = jax.tree.map(lambda x: rng.normal(0, 0.1, x.shape).astype(x.dtype), policy.shapes())
    asked = [ask(0, "7")] * 2
    sampled = [
        dataclasses.replace(
            respond(asked[0], "", i, digits=False),
            response_ids=(ids := np.array(tokenizer(text)["input_ids"], np.int32)),
            rollout_log_probs=np.full(len(ids), -1.0, np.float32),
        )
        for i, text in enumerate(["1+1=3#### 12", "#### 7"])
    ]
    scored = scorer(asked, digits(params, asked, sampled, 1.0), 1.0)
    info = scored.ntl_info
    assert info is not None and info.digit_log_probs is None and not scored.fallbacks
    assert info.total_digits.tolist() == [4, 1] and info.digit_values.max() == 12
    assert (info.ntl_loss <= 9).all()
    graphs = {"graph": policy.graph, "reference": None, "critic": None}
    build = ExperienceBuilder(config, Layout("padded", shape), mesh=policy.mesh, **graphs)
    _, experience, _ = build(params, None, Samples(scored, np.ones(2, bool), None, {}), 0.0, Clock())
    weights = policy_weights(experience, scale=16)
    number_loss = NumberLoss(policy.table, "wasserstein", config.ntl.weight)
    objective = PolicyObjective(config.algorithm, number_loss, 1.0, policy.model.num_tokens)

    def loss(hidden, head):
        of_update = objective(hidden, head, experience, weights)
        return of_update.total, of_update.metrics

    hidden, head = rng.normal(size=(*experience.mask.shape, 16)), rng.normal(size=(16, policy.model.vocab_size))
    (_, metrics), gradient = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(
        hidden.astype(np.float32), head.astype(np.float32)
    )
    chex.assert_tree_all_finite(gradient)
    assert 0 < metrics.to_dict()["actor/ntl_loss"] <= 9


def test_a_trainer_that_is_closed_ends_its_engine_and_its_rewards(smallest, monkeypatch):
    closed: list[str] = []
    for owner in (JaxEngine, Scorer):
        monkeypatch.setattr(owner, "close", lambda self: closed.append(type(self).__name__))
    create_ppo_trainer(smallest).close()
    assert closed == ["JaxEngine", "Scorer"]

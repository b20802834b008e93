# SPDX-License-Identifier: Apache-2.0
"""A policy without its weights, and its weights."""

import dataclasses

import chex
import jax
import numpy as np
import pytest
from flax import nnx

from ntl_jax.config import ModelSection
from ntl_jax.data import load_tokenizer
from ntl_jax.models import save_hf
from ntl_jax.models.stacking import stacked
from ntl_jax.train.policy import build_params, build_policy


@pytest.fixture(scope="module")
def saved(setup, tmp_path_factory):
    """The initial policy as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("policy") / "policy"
    save_hf(nnx.merge(setup.policy.graph, setup.initial), folder, tokenizer=setup.policy.tokenizer)
    return folder


def loading(setup, folder):
    return dataclasses.replace(setup.config, model=ModelSection(path=str(folder), mesh=(1, 1, 1)))


def test_shapes_are_those_of_the_weights_with_their_places(setup):
    shapes = setup.policy.shapes()
    chex.assert_trees_all_equal_shapes_and_dtypes(setup.initial, shapes)
    chex.assert_trees_all_equal_comparator(
        lambda x, like: x.sharding == like.sharding,
        lambda x, like: f"{x.sharding} and not {like.sharding}",
        setup.initial,
        shapes,
    )


def test_a_policy_is_described_before_its_weights_are_read(setup, saved, tmp_path):
    for path in saved.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    policy = build_policy(loading(setup, tmp_path))
    assert policy.checkpoint == tmp_path and policy.model.num_layers == 2
    with pytest.raises(ValueError, match="safetensors"):
        build_params(policy, seed=0)


def test_the_weights_of_a_checkpoint_are_loaded_bit_for_bit_and_the_tokenizer_is_its_own(setup, saved):
    policy = build_policy(loading(setup, saved))
    jax.tree.map(np.testing.assert_array_equal, build_params(policy, seed=7), setup.initial)
    assert policy.tokenizer.get_vocab() == setup.policy.tokenizer.get_vocab()
    assert policy.vocabulary == setup.policy.vocabulary


def test_layers_are_stacked_as_the_setting_says_from_scratch_and_from_a_checkpoint(setup, saved):
    for config in (setup.config, loading(setup, saved)):
        model = dataclasses.replace(config.model, scan_layers="on")
        policy = build_policy(dataclasses.replace(config, model=model))
        params = build_params(policy, seed=0)
        chex.assert_trees_all_equal_shapes_and_dtypes(params, policy.shapes())
        jax.tree.map(np.testing.assert_array_equal, params, stacked(setup.initial))


def test_new_weights_depend_on_the_seed_alone(setup):
    again, other = build_params(setup.policy, seed=0), build_params(setup.policy, seed=1)
    jax.tree.map(np.testing.assert_array_equal, again, setup.initial)
    assert any((x != y).any() for x, y in zip(*map(jax.tree.leaves, (other, setup.initial)), strict=True))


def test_a_tokenizer_that_is_given_is_used(setup):
    tokenizer = load_tokenizer()
    tokenizer.add_tokens(["<new>"])
    policy = build_policy(setup.config, tokenizer)
    assert policy.tokenizer is tokenizer and policy.vocabulary.num_tokens == setup.policy.vocabulary.num_tokens + 1


def test_the_embedding_is_rounded_up_so_that_it_divides_over_shards(setup):
    assert (setup.policy.model.num_tokens, setup.policy.model.vocab_size) == (492, 512)


def test_with_tokens_of_single_digits_the_losses_go_by_the_digits(setup):
    assert setup.policy.table is setup.policy.digits and setup.policy.digits.kind == "digits"


def test_with_tokens_of_several_digits_the_losses_go_by_all_number_tokens_and_engines_by_the_digits(setup):
    tokenizer = load_tokenizer()
    tokenizer.add_tokens(["42"])
    policy = build_policy(setup.config, tokenizer)
    assert (policy.table.kind, policy.digits.kind) == ("numbers", "digits")
    assert policy.table.num_digits.max() == 2 and len(policy.digits.ids) == 10


def test_the_mesh_must_fit_the_devices(setup):
    model = dataclasses.replace(setup.config.model, mesh=(16, 1, 1))
    with pytest.raises(ValueError, match="16"):
        build_policy(dataclasses.replace(setup.config, model=model))


@pytest.mark.parametrize(
    ("attention", "answer"),
    [
        ("splash", "model.attention='splash' is a kernel for tpu, and this is cpu: set it to 'auto' or 'xla'"),
        ("cudnn", "model.attention='cudnn' is a kernel for gpu, and this is cpu: set it to 'auto' or 'xla'"),
    ],
)
def test_a_kernel_of_another_platform_is_refused_by_its_setting(setup, attention, answer):
    config = dataclasses.replace(setup.config, model=dataclasses.replace(setup.config.model, attention=attention))
    with pytest.raises(ValueError) as error:
        build_policy(config)
    assert str(error.value) == answer


def test_weights_that_do_not_fit_in_memory_are_refused_before_anything_is_traced(setup):
    config = dataclasses.replace(setup.config, model=dataclasses.replace(setup.config.model, num_layers=10**9))
    with pytest.raises(ValueError, match=r"model.num_layers=1000000000, .* the weights of .* GiB are there"):
        build_policy(config)

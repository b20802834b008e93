# SPDX-License-Identifier: Apache-2.0
"""The table of parameters has what models are made of, and every other table agrees with it."""

import dataclasses

import jax
import pytest
from flax import nnx

from ntl_jax.models import Critic, ModelConfig
from ntl_jax.models.hf.config import ARCHITECTURES
from ntl_jax.models.parameters import PARAMETERS, leaf_name, parameter_at
from ntl_jax.models.sharding import RULES

CONFIG = ModelConfig(vocab_size=64, num_layers=2, width=32, num_heads=4, num_kv_heads=2, head_dim=8, feed_forward=64)


def critic_of(architecture: str, *, tie_embeddings: bool):
    """Parameters of a policy and a value head, as shapes."""
    config = dataclasses.replace(CONFIG, architecture=architecture, tie_embeddings=tie_embeddings)
    return nnx.eval_shape(lambda: nnx.state(Critic(config, rngs=nnx.Rngs(0)), nnx.Param))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_parameter_of_every_architecture_has_its_row_with_its_number_of_axes(architecture):
    for path, leaf in jax.tree.leaves_with_path(critic_of(architecture, tie_embeddings=False)):
        assert len(parameter_at(path).axes) == leaf.ndim, path


def test_stacked_layers_have_one_more_axis_and_the_rest_of_a_critic_has_not():
    config = dataclasses.replace(CONFIG, scan_layers=True)
    stacked = nnx.eval_shape(lambda: nnx.state(Critic(config, rngs=nnx.Rngs(0)), nnx.Param))
    for path, leaf in jax.tree.leaves_with_path(stacked):
        parameter = parameter_at(path)
        assert len(parameter.axes) == leaf.ndim, path
        assert parameter.num_stacked == (jax.tree_util.DictKey("stack") in path)
    assert "stack" in stacked["trunk"] and "layers" not in stacked["trunk"]


def test_the_table_has_no_parameter_that_no_model_has():
    trees = [critic_of(name, tie_embeddings=False) for name in ARCHITECTURES]
    assert {leaf_name(path) for tree in trees for path, _ in jax.tree.leaves_with_path(tree)} == PARAMETERS.keys()


def test_rules_place_every_axis_and_only_matrices_have_inputs():
    for name, parameter in PARAMETERS.items():
        assert set(parameter.axes) <= RULES.keys(), name
        assert (0 < parameter.num_inputs < len(parameter.axes)) == (parameter.kind == "matrix"), name


def test_the_name_of_a_matrix_called_value_is_not_that_of_the_box_it_lies_in():
    tree = critic_of("Qwen2ForCausalLM", tie_embeddings=True)
    paths = [path for path, _ in jax.tree.leaves_with_path(tree["trunk"]["layers"][0]["attention"])]
    assert sorted(str(leaf_name(path)) for path in paths) == [
        "key", "key_bias", "output", "query", "query_bias", "value", "value_bias",
    ]  # fmt: skip

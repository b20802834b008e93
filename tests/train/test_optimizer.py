# SPDX-License-Identifier: Apache-2.0
"""Which parameters decay, which ones Muon takes, and the learning rate of every update."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ntl_jax.config import OptimizerSection
from ntl_jax.models import Critic, ModelConfig
from ntl_jax.train.optimizer import make_optimizer

SIZES = {"width": 32, "num_heads": 2, "num_kv_heads": 1, "head_dim": 16, "feed_forward": 32}
MODEL = ModelConfig(vocab_size=64, num_layers=1, tie_embeddings=False, **SIZES)
OF_LAYERS = {"query", "key", "value", "output", "gate", "up", "down"}
MATRICES = OF_LAYERS | {"embedding", "unembedding"}
VECTORS = {"query_bias", "key_bias", "value_bias", "scale", "value_head"}


@pytest.fixture(scope="module")
def critic():
    """Parameters of a critic, which has every parameter of a policy and a value head; all of them 1."""
    params = nnx.eval_shape(lambda: nnx.state(Critic(MODEL, rngs=nnx.Rngs(0)), nnx.Param))
    return jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), params)


def by_name(params):
    """Value of each kind of parameter: its innermost name that is a word."""
    found = {}
    for path, leaf in jax.tree.leaves_with_path(params):
        words = [key.key for key in path if isinstance(getattr(key, "key", None), str)]
        found.setdefault(words[-1], []).append(np.asarray(leaf))
    return {name: np.concatenate([x.ravel() for x in leaves]) for name, leaves in found.items()}


@pytest.mark.parametrize("name", ["adamw", "adafactor", "muon"])
def test_weight_decay_falls_on_matrices_and_embeddings_and_on_nothing_else(critic, name):
    section = OptimizerSection(name=name, learning_rate=0.5, warmup_steps=0, weight_decay=0.25)
    optimizer = make_optimizer(section, total_steps=10)
    no_gradient = jax.tree.map(jnp.zeros_like, critic)
    updates, _ = jax.jit(optimizer.update)(no_gradient, optimizer.init(critic), critic)
    moved = by_name(updates)
    assert moved.keys() == MATRICES | VECTORS
    for parameter, update in moved.items():
        np.testing.assert_allclose(update, -0.5 * 0.25 if parameter in MATRICES else 0.0, err_msg=parameter)


def test_muon_orthogonalizes_the_layers_matrices_and_leaves_the_rest_to_adam(critic):
    optimizer = make_optimizer(OptimizerSection(name="muon", warmup_steps=0), total_steps=10)
    moments = optimizer.init(critic)
    # Adam alone keeps a variance.
    leaves = [path for path, _ in jax.tree.leaves_with_path(moments) if ".nu" in jax.tree_util.keystr(path)]
    adams = {[key.key for key in path if isinstance(getattr(key, "key", None), str)][-1] for path in leaves}
    assert adams == (MATRICES | VECTORS) - OF_LAYERS


@pytest.mark.parametrize("name", ["adamw", "adafactor", "muon"])
def test_a_parameter_of_an_unknown_name_is_an_error(name):
    optimizer = make_optimizer(OptimizerSection(name=name, warmup_steps=0), total_steps=10)
    with pytest.raises(ValueError, match=r"'router'.*whether it is a matrix is not known.*query_bias"):
        optimizer.init({"layers": {0: {"router": jnp.ones((4, 4))}}})

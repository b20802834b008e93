# SPDX-License-Identifier: Apache-2.0
"""Which parameters decay, which ones Muon updates, and the learning rate of every update."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ntl_jax.config import AlgorithmSection, OptimizerSection, RunConfig, TrainerSection
from ntl_jax.models import Critic, ModelConfig
from ntl_jax.update.optimizer import (
    clip_by_global_norm,
    learning_rate_schedule,
    make_optimizer,
    optimizers,
    planned_updates,
)

MODEL = ModelConfig(
    vocab_size=64,
    num_layers=1,
    width=32,
    num_heads=2,
    num_kv_heads=1,
    head_dim=16,
    feed_forward=32,
    tie_embeddings=False,
)
OF_LAYERS = {"query", "key", "value", "output", "gate", "up", "down"}
MATRICES = OF_LAYERS | {"embedding", "unembedding"}
VECTORS = {"query_bias", "key_bias", "value_bias", "scale", "value_head"}


@pytest.fixture(scope="module")
def critic():
    """Parameters of a critic, which has every parameter of a policy and a value head; all of them 1."""
    params = nnx.eval_shape(lambda: nnx.state(Critic(MODEL, rngs=nnx.Rngs(0)), nnx.Param))
    return jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), params)


def by_name(params):
    """Values by parameter name: the innermost key that is a string."""
    found = {}
    for path, leaf in jax.tree.leaves_with_path(params):
        words = [key.key for key in path if isinstance(getattr(key, "key", None), str)]
        found.setdefault(words[-1], []).append(np.asarray(leaf))
    return {name: np.concatenate([x.ravel() for x in leaves]) for name, leaves in found.items()}


@pytest.fixture(scope="module", params=["adamw", "adafactor", "muon"])
def two_updates(request, critic):
    """The first two updates for one gradient at both, in a warm-up of two with peak 0.5 and decay 0.25, by name."""
    section = OptimizerSection(name=request.param, learning_rate=0.5, warmup_steps=2, weight_decay=0.25)
    optimizer = make_optimizer(section, total_steps=10)
    update = jax.jit(optimizer.update)

    def run(gradient):
        (first, state) = update(gradient, optimizer.init(critic), critic)
        return by_name(first), by_name(update(gradient, state, critic)[0])

    return run


def test_weight_decay_applies_to_matrices_and_embeddings_only(critic, two_updates):
    for rate, moved in zip((0.25, 0.5), two_updates(jax.tree.map(jnp.zeros_like, critic)), strict=True):
        assert moved.keys() == MATRICES | VECTORS
        for parameter, update in moved.items():
            np.testing.assert_allclose(update, -rate * 0.25 if parameter in MATRICES else 0.0, err_msg=parameter)


def test_the_first_update_of_a_warm_up_moves_the_parameters(critic, two_updates):
    """By the first rate, which the second is twice; directions differ only in the Nesterov momentum beside Muon's."""
    first, second = two_updates(critic)
    for parameter, update in first.items():
        assert (update < 0).any(), parameter
        np.testing.assert_allclose(second[parameter], 2 * update, rtol=0.3, atol=1e-6, err_msg=parameter)


def test_muon_orthogonalizes_matrices_of_layers_and_the_rest_uses_adam(critic):
    optimizer = make_optimizer(OptimizerSection(name="muon", warmup_steps=0), total_steps=10)
    moments = optimizer.init(critic)
    # Adam alone keeps a variance.
    leaves = [path for path, _ in jax.tree.leaves_with_path(moments) if ".nu" in jax.tree_util.keystr(path)]
    adams = {[key.key for key in path if isinstance(getattr(key, "key", None), str)][-1] for path in leaves}
    assert adams == (MATRICES | VECTORS) - OF_LAYERS


@pytest.mark.parametrize("name", ["adamw", "adafactor", "muon"])
def test_a_parameter_with_an_unknown_name_is_an_error(name):
    optimizer = make_optimizer(OptimizerSection(name=name, warmup_steps=0), total_steps=10)
    with pytest.raises(ValueError, match=r"unknown parameter 'router'; add a row for it .*query_bias"):
        optimizer.init({"layers": {0: {"router": jnp.ones((4, 4))}}})


@pytest.mark.parametrize(
    ("schedule", "warmup", "rates"),
    [
        ("constant", 0, [8, 8, 8, 8, 8, 8]),
        ("constant", 4, [2, 4, 6, 8, 8, 8]),
        ("constant", 8, [1, 2, 3, 4, 5, 6]),
        ("linear", 0, [8, 8 * 5 / 6, 8 * 4 / 6, 8 * 3 / 6, 8 * 2 / 6, 8 / 6]),
        ("linear", 2, [4, 8, 8, 6, 4, 2]),
        ("cosine", 1, [8, 8, 4 + 4 * np.cos(np.pi / 5), 4 + 4 * np.cos(2 * np.pi / 5), 4 - 4 * np.cos(2 * np.pi / 5),
                       4 - 4 * np.cos(np.pi / 5)]),
    ],
)  # fmt: skip
def test_every_update_has_its_rate_and_the_end_value_follows_the_last(schedule, warmup, rates):
    section = OptimizerSection(learning_rate=8.0, warmup_steps=warmup, schedule=schedule)
    rate = learning_rate_schedule(section, total_steps=len(rates))
    np.testing.assert_allclose([np.asarray(rate(n)) for n in range(len(rates))], rates, rtol=1e-6)
    if schedule != "constant":
        assert rate(len(rates)) == 0


def test_schedules_end_with_the_planned_updates_of_each_model():
    """Four iterations of two updates, the first with the critic only: six policy updates, eight critic updates."""
    section = OptimizerSection(warmup_steps=0, schedule="linear")
    algorithm = AlgorithmSection(advantage="gae", critic_warmup=1, optimizer=section)
    planned = planned_updates(RunConfig(algorithm=algorithm, trainer=TrainerSection(steps=4)))["ppo"]
    assert planned == {"policy": 6, "critic": 8}
    for total in planned.values():
        rate = learning_rate_schedule(section, total)
        assert float(rate(total - 1)) > 0 == float(rate(total))  # pyright: ignore[reportArgumentType]


def test_without_a_critic_no_updates_of_one_are_planned_and_a_warm_up_of_one_means_nothing():
    algorithm = AlgorithmSection(critic_warmup=3, epochs=2, minibatches=3)
    config = RunConfig(algorithm=algorithm, trainer=TrainerSection(steps=5))
    assert planned_updates(config)["ppo"] == {"policy": 30}
    assert optimizers(config)["ppo"] is algorithm.optimizer


def test_gradients_are_scaled_down_to_the_largest_norm_and_never_up():
    """As AdamW's variance sees them, whose update hides the norm: 6 becomes 1, and 0.5 stays."""
    optimizer, found = make_optimizer(OptimizerSection(warmup_steps=0, b2=0.75), total_steps=10), []
    update, state = jax.jit(optimizer.update), optimizer.init({"up": jnp.ones((2, 2))})
    for size in (3.0, 0.25):
        gradient = {"up": jnp.full((2, 2), size)}
        _, after = update(gradient, state, gradient)
        nu = [leaf for path, leaf in jax.tree.leaves_with_path(after) if ".nu" in jax.tree_util.keystr(path)]
        found.append(float(nu[0].sum()) / 0.25)  # of squared gradients
    np.testing.assert_allclose(found, [1.0, 0.25], rtol=1e-5)


@pytest.mark.parametrize("size", [0.3, 1.0, 7.0])
@pytest.mark.parametrize("known", [True, False])
def test_clipping_is_that_of_optax_whether_the_norm_is_given_or_not(size, known):
    rng = np.random.default_rng(0)
    grads = {name: size * rng.normal(size=5).astype(np.float32) for name in "ab"}
    clip, reference = clip_by_global_norm(2.0), optax.clip_by_global_norm(2.0)
    given = {"grad_norm": optax.tree.norm(grads)} if known else {}
    expected, _ = reference.update(grads, reference.init(grads))
    chex.assert_trees_all_close(clip.update(grads, clip.init(grads), **given)[0], expected, rtol=1e-6)


def test_the_whole_optimizer_clips_by_the_norm_that_it_is_given():
    """Half of the limit given as the norm leaves a gradient of norm 2 whole; twice the limit halves it."""
    section = OptimizerSection(warmup_steps=0, max_grad_norm=2.0)
    optimizer, params = make_optimizer(section, total_steps=10), {"up": jnp.full((2, 2), 1.0)}
    for grad_norm, scale in ((1.0, 1.0), (4.0, 0.5)):
        state = optimizer.update(params, optimizer.init(params), params, grad_norm=jnp.float32(grad_norm))[1]
        first_moment = optax.tree_utils.tree_get(state, "mu")["up"]
        np.testing.assert_allclose(first_moment, (1 - section.b1) * scale, rtol=1e-6)

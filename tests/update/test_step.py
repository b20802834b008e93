# SPDX-License-Identifier: Apache-2.0
"""The pure update: it does not depend on how the batch is cut, and keeps the old state when something is not finite."""

import functools

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from ntl_jax.config import AlgorithmSection, ClippedSection
from ntl_jax.models import Critic, Decoder, ModelConfig, batch_sharding, make_mesh, shardings
from ntl_jax.numerals import NumberTable
from ntl_jax.rows.packing import pack
from ntl_jax.rows.padding import RowShape, pad_rows
from ntl_jax.rows.passes import predicted_values, predictor_states
from ntl_jax.update.objectives import NumberLoss, PolicyObjective, value_objective
from ntl_jax.update.state import init_model_state, init_params, init_train_state
from ntl_jax.update.step import Learner, Term, make_step
from ntl_jax.update.weights import weighed

CONFIG = ModelConfig(vocab_size=24, num_layers=2, width=32, num_heads=4, num_kv_heads=2, head_dim=8, feed_forward=32)
TABLE = NumberTable.from_vocab({str(d): d for d in range(10)}, vocab_size=24)
OPTIMIZER = optax.sgd(1.0)  # the update is minus the gradient
ALGORITHM = AlgorithmSection(clipped=ClippedSection(clip_low=0.5))
OBJECTIVE = PolicyObjective(ALGORITHM, NumberLoss(TABLE, "mse", 0.1), temperature=0.7)


@functools.cache
def random_batch():
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 9, (2, 8))
    prompts, responses = ([rng.integers(0, 24, n) for n in row] for row in lengths)
    truth = [np.where(rng.uniform(size=len(r)) < 0.3, rng.integers(0, 10, len(r)), np.nan) for r in responses]
    batch = weighed(pad_rows(prompts, responses, RowShape(16, 8), number_targets=truth), scale=8)
    noise = {name: rng.normal(size=batch.mask.shape).astype(np.float32) for name in ("advantages", "returns")}
    return batch._replace(
        old_log_probs=rng.normal(-3, 0.3, batch.mask.shape).astype(np.float32),
        old_values=np.zeros(batch.mask.shape, np.float32),
        **noise,
    )


def update(mesh_shape=(1, 1, 1), max_tokens=10_000, batch=None):
    """One step; returns the new and the old parameters and the metrics."""
    mesh = make_mesh(mesh_shape)
    policy_graph, policy = init_params(lambda rngs: Decoder(CONFIG, rngs=rngs), 0, mesh)
    critic_graph, critic = init_params(lambda rngs: Critic(CONFIG, rngs=rngs), 1, mesh)

    def policy_loss(params, batch):
        decoder = nnx.merge(policy_graph, params["policy"])
        return OBJECTIVE(predictor_states(decoder, batch), decoder.head(), batch)

    def value_loss(params, batch):
        return value_objective(predicted_values(critic_graph, params["critic"], batch), batch, AlgorithmSection())

    terms = Term(("policy",), policy_loss), Term(("critic",), value_loss)
    learners = {"policy": Learner(OPTIMIZER, "actor"), "critic": Learner(OPTIMIZER, "critic")}
    policy_state, critic_state = (init_model_state(params, OPTIMIZER, mesh) for params in (policy, critic))
    state = init_train_state(policy_state, critic_state, mesh)
    before = jax.device_get((policy_state.params, critic_state.params))
    step = make_step(terms, learners, max_tokens, shardings(state, mesh))
    batch = jax.device_put(random_batch() if batch is None else batch, batch_sharding(mesh))
    state, metrics = step(state, batch)
    assert state.critic is not None
    return jax.device_get((state.policy.params, state.critic.params)), before, metrics.to_dict()


@pytest.fixture(scope="module")
def whole():
    return update()


def norm(tree) -> float:
    return float(np.sqrt(sum(np.sum(np.square(x, dtype=np.float64)) for x in jax.tree.leaves(tree))))


def difference(a, b):
    return jax.tree.map(lambda x, y: np.asarray(x, np.float64) - y, a, b)


@pytest.mark.parametrize(
    "cut",
    [
        {"max_tokens": 48},  # three rows at a time, of eight
        {"packed": True},
        pytest.param({"packed": True, "mesh_shape": (2, 1, 1), "max_tokens": 32}, marks=pytest.mark.slow),
        pytest.param({"max_tokens": 16}, marks=pytest.mark.slow),
        pytest.param({"mesh_shape": (8, 1, 1)}, marks=pytest.mark.slow),
        pytest.param({"mesh_shape": (2, 2, 2)}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_gradients_do_not_depend_on_micro_batches_devices_or_packing(whole, cut):
    after, before, metrics = whole
    packed = pack(random_batch(), multiple_of=2) if cut.get("packed") else None
    cut_after, _, cut_metrics = update(**{k: v for k, v in cut.items() if k != "packed"}, batch=packed)
    # Parameters are float32 while updates are compared: their rounding bounds what can be seen.
    assert norm(difference(cut_after, after)) <= 2e-6 * norm(difference(after, before)) + 1e-7 * norm(before)
    assert cut_metrics.keys() - metrics.keys() <= {"actor/grad_noise", "critic/grad_noise"}
    for name in metrics:
        np.testing.assert_allclose(cut_metrics[name], metrics[name], rtol=2e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("field", ["advantages", "returns", "weights"])
def test_a_step_that_is_not_finite_changes_no_parameter_and_says_so(field):
    batch = random_batch()
    broken = getattr(batch, field).copy()
    broken[np.argwhere(batch.mask)[3][0], np.argwhere(batch.mask)[3][1]] = np.nan
    after, before, metrics = update(batch=batch._replace(**{field: broken}))
    assert metrics["non_finite"] == 1.0
    jax.tree.map(np.testing.assert_array_equal, after, before)


def test_a_finite_step_changes_parameters_and_says_so(whole):
    after, before, metrics = whole
    assert metrics["non_finite"] == 0.0
    assert norm(difference(after[0], before[0])) > 0
    assert norm(difference(after[1], before[1])) > 0


def test_a_metric_that_overflows_is_reported_and_does_not_block_the_update(whole):
    """Six tokens with weight 0, with advantages whose sum overflows float32."""
    batch = random_batch()
    assert batch.weights is not None and batch.advantages is not None
    weights, advantages = batch.weights.copy(), batch.advantages.copy()
    tokens = tuple(np.argwhere(batch.mask)[:6].T)
    weights[tokens], advantages[tokens] = 0.0, 2e38
    after, before, metrics = update(batch=batch._replace(weights=weights, advantages=advantages))
    assert metrics["actor/pg_loss"] == -np.inf
    assert metrics["non_finite"] == 0.0 and np.isfinite(metrics["actor/loss"])
    assert norm(difference(after[0], before[0])) > 0


def test_the_loss_that_is_minimized_is_reported(whole):
    """With a weight of 1 / 64 a token, the losses are those of the plain sums."""
    _, _, metrics = whole
    batch = random_batch()
    assert batch.weights is not None and batch.returns is not None and batch.number_weights is not None
    value_loss = np.sum(batch.weights * 0.5 * np.square(batch.returns), where=batch.mask)
    assert metrics["critic/loss"] == pytest.approx(AlgorithmSection().value_weight * value_loss, rel=1e-4)
    number_loss = 0.1 * np.sum(batch.number_weights) * metrics["actor/ntl_loss"]
    assert metrics["actor/loss"] == pytest.approx(metrics["actor/pg_loss"] + number_loss, rel=1e-4)


def test_values_outside_the_mask_change_nothing(whole):
    batch = random_batch()
    garbage = {
        name: np.where(batch.mask, getattr(batch, name), np.nan).astype(np.float32)
        for name in ("advantages", "returns", "old_log_probs", "old_values")
    }
    after, _, metrics = update(batch=batch._replace(**garbage))
    assert metrics["non_finite"] == 0.0
    jax.tree.map(np.testing.assert_array_equal, after, whole[0])

# SPDX-License-Identifier: Apache-2.0
"""The pure update: it does not depend on how the batch is cut, and keeps the old state when something is not finite."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ntl_jax.metrics.sums import Mean, MetricSums
from ntl_jax.models import make_mesh, shardings
from ntl_jax.ops import vocab_head_dense
from ntl_jax.records import Batch, Experience, Rows, Targets, TokenOutputs, TokenWeights
from ntl_jax.rows.packing import pack
from ntl_jax.rows.passes import RowPass, predictor_states, sampled_log_probs
from ntl_jax.update.objectives import Loss
from ntl_jax.update.state import init_model_state, init_train_state
from ntl_jax.update.step import Learner, Term, make_step
from tests.update.conftest import sharing

MESH = (1, 1, 1)
TEMPERATURE = 0.7


@pytest.fixture(scope="module")
def whole(small, batch):
    return small.update(batch)


@pytest.fixture(scope="module")
def said(small):
    """What the policy says about each response token of rows, from logits in memory."""

    @jax.jit
    def run(params, rows: Rows, ids):
        decoder = nnx.merge(small.policy, params)
        head, nothing = decoder.head(), jnp.zeros(0, jnp.int32)
        stats = vocab_head_dense(predictor_states(decoder, rows), head, ids, nothing, temperature=TEMPERATURE)
        return TokenOutputs(stats.log_probs, stats.entropy)

    return run


def norm(tree: Any) -> float:
    return float(np.sqrt(sum(np.sum(np.square(x, dtype=np.float64)) for x in jax.tree.leaves(tree))))


def difference(a: Any, b: Any) -> Any:
    return jax.tree.map(lambda x, y: np.asarray(x, np.float64) - y, a, b)


def with_tokens(batch: Batch[Experience], **fields: Any) -> Batch[Experience]:
    return batch._replace(tokens=batch.tokens._replace(**fields))


def spoilt(x: np.ndarray, batch: Batch[Experience]) -> np.ndarray:
    """The array with NaN at the fourth token that counts."""
    x = x.copy()
    x[tuple(np.argwhere(batch.tokens.mask)[3])] = np.nan
    return x


@pytest.mark.parametrize(
    "cut",
    [
        {"max_tokens": 48},  # three rows at a time, of eight
        {"shared": 2, "max_tokens": 48},  # two rows at a time, of four
        {"shared": 2, "mesh_shape": (2, 1, 2)},
        {"packed": True, "mesh_shape": (2, 2, 2), "max_tokens": 64},  # four rows at a time, one on each pair of devices
    ],
    ids=str,
)
def test_update_and_outputs_do_not_depend_on_micro_batches_devices_or_layout(small, batch, whole, said, cut):
    """Nor on whether the tokens' outputs are asked for: the whole update does not."""
    batch = pack(batch, multiple_of=4) if cut.get("packed") else batch
    batch = sharing(batch, cut["shared"]) if "shared" in cut else batch
    found = small.update(batch, per_token=True, **{k: v for k, v in cut.items() if k not in ("packed", "shared")})
    # Parameters are float32 while updates are compared: their rounding bounds what can be seen.
    error, moved = difference(found.after, whole.after), difference(whole.after, whole.before)
    assert norm(error) <= 2e-6 * norm(moved) + 1e-7 * norm(whole.before)
    assert found.metrics.keys() - whole.metrics.keys() <= {"actor/grad_noise", "critic/grad_noise"}
    chex.assert_trees_all_close({k: found.metrics[k] for k in whole.metrics}, whole.metrics, rtol=2e-5, atol=1e-6)

    assert whole.tokens is None and found.tokens is not None
    mask = batch.tokens.mask
    chex.assert_shape(found.tokens, mask.shape)
    expected = said(small.params["policy"], batch.rows, batch.tokens.targets.ids)
    chex.assert_trees_all_close(*(jax.tree.map(lambda x: x[mask], x) for x in (found.tokens, expected)), atol=2e-5)


def test_outputs_of_tokens_are_those_of_a_pass_over_the_same_rows(small, batch):
    found = small.update(batch, per_token=True, max_tokens=48).tokens
    run = RowPass(sampled_log_probs, make_mesh(MESH), max_tokens=10_000)
    targets = batch.tokens.targets
    expected = run(small.policy, small.params["policy"], batch.rows, (targets.ids,), jnp.float32(TEMPERATURE))
    chex.assert_trees_all_close(found.log_probs[targets.mask], expected[targets.mask], atol=2e-6)


@pytest.mark.parametrize("where", ["advantages", "returns", "weights"])
def test_a_step_that_is_not_finite_changes_no_parameter_and_says_so(small, batch, where):
    match where:
        case "advantages":
            broken = with_tokens(batch, advantages=spoilt(batch.tokens.advantages, batch))
        case "returns":
            returns = spoilt(batch.tokens.values.returns, batch)
            broken = with_tokens(batch, values=batch.tokens.values._replace(returns=returns))
        case _:
            broken = batch._replace(weights=batch.weights._replace(loss=spoilt(batch.weights.loss, batch)))
    result = small.update(broken)
    assert result.metrics["non_finite"] == 1.0
    chex.assert_trees_all_equal(result.after, result.before)


def test_a_finite_step_changes_every_model_and_says_so(whole):
    assert whole.metrics["non_finite"] == 0.0
    for model in ("policy", "critic"):
        assert norm(difference(whole.after[model], whole.before[model])) > 0
    chex.assert_tree_all_finite(whole.after)


def test_the_same_update_twice_is_the_same_bit_for_bit(small, batch, whole):
    again = small.update(batch)
    chex.assert_trees_all_equal(again.after, whole.after)
    assert again.metrics == whole.metrics


def test_a_metric_that_overflows_is_reported_and_does_not_block_the_update(small, batch):
    """Six tokens with weight 0, with advantages whose sum overflows float32."""
    weights, advantages = batch.weights.loss.copy(), batch.tokens.advantages.copy()
    tokens = tuple(np.argwhere(batch.tokens.mask)[:6].T)
    weights[tokens], advantages[tokens] = 0.0, 2e38
    changed = with_tokens(batch, advantages=advantages)._replace(weights=batch.weights._replace(loss=weights))
    result = small.update(changed)
    assert result.metrics["actor/pg_loss"] == -np.inf
    assert result.metrics["non_finite"] == 0.0 and np.isfinite(result.metrics["actor/loss"])
    assert norm(difference(result.after["policy"], result.before["policy"])) > 0


def test_the_loss_that_is_minimized_is_reported(batch, whole):
    """With token-mean weights, the losses are those of the plain sums."""
    metrics = whole.metrics
    number_loss = 0.1 * np.sum(batch.weights.numbers) * metrics["actor/ntl_loss"]
    total = metrics["actor/pg_loss"] + number_loss + 0.5 * metrics["critic/vf_loss"]
    assert metrics["actor/loss"] == pytest.approx(total, rel=1e-4)


def test_values_outside_the_mask_change_nothing(small, batch, whole):
    tokens, mask = batch.tokens, batch.tokens.mask

    def garbage(x: np.ndarray) -> np.ndarray:
        return np.where(mask, x, np.nan).astype(np.float32)

    changed = with_tokens(
        batch,
        advantages=garbage(tokens.advantages),
        old_log_probs=garbage(tokens.old_log_probs),
        values=jax.tree.map(garbage, tokens.values),
    )
    result = small.update(changed)
    assert result.metrics["non_finite"] == 0.0
    chex.assert_trees_all_equal(result.after, whole.after)


# What follows needs no decoder: a loss that is linear in one matrix.


def linear_batch(num_rows: int) -> Batch[Targets]:
    zeros = np.zeros((num_rows, 4), np.int32)
    weights = np.random.default_rng(3).normal(size=zeros.shape).astype(np.float32)
    targets = Targets(zeros, np.ones(zeros.shape, bool), np.zeros(zeros.shape, np.float32))
    return Batch(Rows(zeros, zeros, None, zeros), targets, TokenWeights(weights, weights))


def linear_loss(params: Any, batch: Batch) -> Loss:
    """Row i's gradient is the outer product of its weights with themselves."""
    weights = jnp.asarray(batch.weights.loss)
    total = jnp.einsum("bi,bj,ij->", weights, weights, params["policy"]["up"])
    mean = Mean(jnp.sum(weights), jnp.float32(weights.size))
    return Loss(total, MetricSums({"actor/weight": mean}, {"actor/largest": jnp.max(weights)}), None)


def linear_state(optimizer: optax.GradientTransformation, *names: str, with_average: bool = False):
    mesh = make_mesh(MESH)
    params = {name: {"up": np.full((4, 4), 1.0 + i, np.float32)} for i, name in enumerate(names)}
    params = jax.device_put(params, shardings(params, mesh), may_alias=False)
    models = {
        name: init_model_state(p, optimizer, mesh, with_average=with_average and name == "policy")
        for name, p in params.items()
    }
    return init_train_state(models, mesh)


def test_equal_shapes_are_traced_once():
    """With an optimizer whose state begins as it goes on, and an average."""
    optimizer = optax.adamw(1e-2)
    state = linear_state(optimizer, "policy", with_average=True)
    loss: Any = chex.assert_max_traces(linear_loss, n=1)
    learners = {"policy": Learner(optimizer, "actor", 0.5)}
    step = make_step([Term(("policy",), loss)], learners, 1000, shardings(state, make_mesh(MESH)))
    for _ in range(3):
        state = step(state, linear_batch(3)).state
    assert state.step == 3
    with pytest.raises(AssertionError, match="traced > 1 times"):
        step(state, linear_batch(4))


@pytest.mark.parametrize("max_tokens", [4, 8, 12])
def test_rows_that_are_cut_into_one_two_or_three_at_a_time_add_up(max_tokens):
    """Seven rows: in seven parts, in four of which one has a row of zeros, in three with two of them."""
    state, batch = linear_state(optax.sgd(1.0), "policy"), linear_batch(7)
    learners = {"policy": Learner(optax.sgd(1.0), "actor")}
    step = make_step([Term(("policy",), linear_loss)], learners, max_tokens, shardings(state, make_mesh(MESH)))
    state, metrics, _ = step(state, batch)
    gradient = np.einsum("bi,bj->ij", batch.weights.loss, batch.weights.loss)
    chex.assert_trees_all_close(state.params["policy"]["up"], 1 - gradient, atol=1e-5)
    assert metrics.to_dict()["actor/loss"] == pytest.approx(gradient.sum(), rel=1e-5)


def test_gradient_noise_is_that_of_the_parts_gradients():
    """Two parts of the rows 0, 2 and 1, 3: they are dealt like cards."""
    state, batch = linear_state(optax.sgd(0.0), "policy"), linear_batch(4)
    learners = {"policy": Learner(optax.sgd(0.0), "actor")}
    step = make_step([Term(("policy",), linear_loss)], learners, 8, shardings(state, make_mesh(MESH)))
    metrics = step(state, batch).metrics.to_dict()
    gradients = np.einsum("bi,bj->bij", batch.weights.loss, batch.weights.loss)
    parts = gradients[::2].sum(axis=0), gradients[1::2].sum(axis=0)
    whole, of_part = norm(gradients.sum(axis=0)) ** 2, 2 * sum(norm(part) ** 2 for part in parts)
    assert metrics["actor/grad_noise"] == pytest.approx(16 * (of_part - whole) / (2 * whole - of_part), rel=1e-4)
    assert metrics["actor/grad_norm"] == pytest.approx(np.sqrt(whole), rel=1e-5)
    assert metrics["actor/weight"] == pytest.approx(batch.weights.loss.mean(), rel=1e-5)
    assert metrics["actor/largest"] == batch.weights.loss.max()


@pytest.mark.parametrize(("per_token", "max_tokens", "calls"), [(False, 8, 0), (True, 8, 2), (True, 1000, 1)])
def test_outputs_of_tokens_are_computed_only_where_they_are_asked_for(per_token, max_tokens, calls):
    counted = []

    def count(x):
        counted.append(x.shape)
        return x

    def loss(params, batch: Batch) -> Loss:
        weights = jnp.asarray(batch.weights.loss)
        seen = jax.pure_callback(count, jax.ShapeDtypeStruct(weights.shape, weights.dtype), weights)
        return linear_loss(params, batch)._replace(tokens=TokenOutputs(seen, -seen))

    state, batch = linear_state(optax.sgd(0.1), "policy"), linear_batch(3)
    learners = {"policy": Learner(optax.sgd(0.1), "actor")}
    sharding = shardings(state, make_mesh(MESH))
    step = make_step([Term(("policy",), loss)], learners, max_tokens, sharding, per_token=per_token)
    tokens = jax.device_get(step(state, batch).tokens)
    assert len(counted) == calls
    if per_token:
        chex.assert_trees_all_equal(tokens, TokenOutputs(batch.weights.loss, -batch.weights.loss))
    else:
        assert tokens is None


def test_a_model_that_no_term_teaches_stays_as_it_is_bit_for_bit():
    """An optimizer with momentum and decay would move it."""
    optimizer = optax.adamw(0.1, weight_decay=0.5)
    state = linear_state(optimizer, "policy", "critic", "adapter")
    before = jax.device_get(state)
    learners = {name: Learner(optimizer, name) for name in state.models}
    terms = [Term(("policy",), linear_loss), Term(("adapter",), lambda params, batch: _squares(params["adapter"]))]
    step = make_step(terms, learners, 1000, shardings(state, make_mesh(MESH)))
    state, metrics, _ = step(state, linear_batch(3))
    after = jax.device_get(state)
    chex.assert_trees_all_equal(after.models["critic"], before.models["critic"])
    for name in ("policy", "adapter"):
        assert norm(difference(after.models[name].params, before.models[name].params)) > 0
    assert {"policy/grad_norm", "adapter/update_norm"} <= metrics.means.keys()
    assert not [name for name in metrics.means if name.startswith("critic")]


def _squares(params: Any) -> Loss:
    return Loss(jnp.sum(jnp.square(params["up"])), MetricSums({}, {}))

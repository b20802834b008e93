# SPDX-License-Identifier: Apache-2.0
"""What PPO teaches which model, and which updates have anything to teach."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ntl_jax.config import NTLSection
from ntl_jax.models import batch_sharding, make_mesh, shardings
from ntl_jax.records import Batch, Experience, Values
from ntl_jax.rows.packing import pack
from ntl_jax.rows.passes import RowPass, predicted_values, sampled_log_probs
from ntl_jax.update.step import Learner, make_step
from ntl_jax.update.token_weights import policy_weights

MESH = (1, 1, 1)


@pytest.fixture(scope="module")
def warmup(small):
    """The step in which a critic on the policy's trunk learns alone."""
    terms, mesh = small.terms(), make_mesh(MESH)
    learners = {"critic": Learner(optax.sgd(1.0), "critic")}
    return make_step(terms.of_warmup(), learners, 10_000, shardings(small.state(terms, mesh), mesh))


def placed(batch):
    return jax.device_put(batch, batch_sharding(make_mesh(MESH)))


@pytest.mark.parametrize(
    ("settings", "update", "warmup"),
    [
        ({"advantage": "group"}, [("policy",)], None),
        ({"critic": "own"}, [("policy",), ("critic",)], [("critic",)]),
        ({"critic": "shared"}, [("policy", "critic")], [("critic",)]),
    ],
    ids=str,
)
def test_each_model_is_taught_by_one_term(small, settings, update, warmup):
    terms = small.terms(**settings)
    assert [term.models for term in terms.of_update()] == update
    if warmup is not None:
        assert [term.models for term in terms.of_warmup()] == warmup


def test_a_critic_on_the_policys_trunk_has_the_policys_parameters_and_its_own_head(small):
    terms = small.terms(critic="shared")
    models = small.models(terms)
    assert list(models["critic"]) == ["value_head"]
    whole = terms.critic_params(models)
    assert whole["trunk"] is models["policy"]
    chex.assert_trees_all_equal(*map(jax.tree.leaves, (whole, small.params["critic"])))
    own = small.terms(critic="own")
    assert own.critic_params(small.params) is small.params["critic"]


@pytest.fixture(scope="module")
def own(small, batch):
    """One update of a policy and a critic with a trunk of its own: parameters after it, and metrics."""
    terms, mesh, adam = small.terms(critic="own"), make_mesh(MESH), optax.adam(1e-2)
    learners = {"policy": Learner(adam, "actor"), "critic": Learner(adam, "critic")}
    state = small.state(terms, mesh, adam)
    state, metrics, _ = make_step(terms.of_update(), learners, 10_000, shardings(state, mesh))(state, placed(batch))
    return jax.device_get(state.params), metrics.to_dict()


@pytest.fixture(scope="module")
def shared(small, batch, warmup):
    """A warm-up of the critic on the policy's trunk and then an update of both: parameters after each, and metrics."""
    mesh, update = small.step()
    state, found = small.state(small.terms(), mesh), []
    for step in (warmup, update):
        state, metrics, _ = step(state, placed(batch))
        found.append((jax.tree.map(np.copy, jax.device_get(state.params)), metrics.to_dict()))
    return found


def test_policy_and_critic_of_its_own_both_learn_and_are_reported(small, own):
    after, metrics = own
    for name in ("policy", "critic"):
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), after[name], small.params[name])
        assert min(jax.tree.leaves(moved)) > 0, name
    names = {"pg_loss", "pg_clipfrac", "ppo_kl", "entropy", "ratio_deviation", "ntl_loss", "grad_norm", "update_norm"}
    assert {f"actor/{name}" for name in names} <= metrics.keys()
    assert {"critic/vf_loss", "critic/loss", "critic/grad_norm", "critic/param_norm"} <= metrics.keys()
    assert metrics["non_finite"] == 0


def test_during_its_warm_up_a_critic_on_the_policys_trunk_learns_alone(small, shared):
    (after, metrics), _ = shared
    chex.assert_trees_all_equal(after["policy"], small.params["policy"])
    assert np.any(after["critic"]["value_head"][...] != small.params["critic"]["value_head"][...])
    assert metrics["critic/vf_loss"] > 0 and not [name for name in metrics if name.startswith("actor/")]


def test_after_it_a_shared_trunk_learns_from_both_and_the_loss_is_their_sum(small, own, shared):
    """The joint loss is that of the policy and that of the critic, as they are with trunks of their own."""
    (warm, _), (after, metrics) = shared
    assert np.any(after["policy"]["embedding"][...] != warm["policy"]["embedding"][...])
    assert np.any(after["critic"]["value_head"][...] != warm["critic"]["value_head"][...])
    _, of_own = own
    assert metrics["actor/pg_loss"] == pytest.approx(of_own["actor/pg_loss"], rel=1e-5)
    expected = of_own["actor/loss"] + 0.5 * metrics["critic/vf_loss"]
    assert metrics["actor/loss"] == pytest.approx(expected, rel=1e-5)
    assert metrics["actor/grad_norm"] != pytest.approx(of_own["actor/grad_norm"], rel=1e-3)


def test_a_critic_starts_at_zero_and_learns(small, batch, warmup):
    """The first values are 0, so the first loss is that of the returns; later ones come closer."""
    mesh, terms = make_mesh(MESH), small.terms()
    state = small.state(terms, mesh)
    critic = dataclasses.replace(state.models["critic"], params=jax.tree.map(jnp.zeros_like, state.params["critic"]))
    state = dataclasses.replace(state, models=state.models | {"critic": critic})
    values = RowPass(predicted_values, mesh, 10_000)
    first = values(small.critic, terms.critic_params(state.params), batch.rows)
    assert not first.any()
    batch = placed(batch._replace(tokens=batch.tokens._replace(values=Values(first, batch.tokens.values.returns))))
    losses = []
    for _ in range(3):
        state, metrics, _ = warmup(state, batch)
        losses.append(metrics.to_dict()["critic/vf_loss"])
    returns = batch.tokens.values.returns[batch.tokens.mask]
    assert losses[0] == pytest.approx(0.5 * np.mean(np.square(returns)), rel=1e-5) and losses[-1] < losses[0]
    assert values(small.critic, terms.critic_params(state.params), batch.rows).any()


def test_the_ratio_is_one_at_the_policy_that_the_log_probs_are_of_and_not_after_an_update(small, batch):
    """At the temperature of sampling, 0.7; in a second epoch the old log-probs stay, and the policy has moved."""
    mesh, step = small.step()
    run = RowPass(sampled_log_probs, mesh, 10_000)
    ids = batch.tokens.targets.ids
    old = run(small.policy, small.params["policy"], batch.rows, (ids,), np.float32(0.7))
    batch = placed(batch._replace(tokens=batch.tokens._replace(old_log_probs=old)))
    state, deviations = small.state(small.terms(), mesh), []
    for _ in range(2):
        state, metrics, _ = step(state, batch)
        deviations.append(metrics.to_dict()["actor/ratio_deviation"])
    assert deviations[0] <= 1e-5 and deviations[1] > 1e-3


def test_without_ntl_or_with_weight_zero_the_loss_has_no_number_term(small, batch):
    for ntl in (NTLSection(enabled=False), NTLSection(weight=0.0)):
        (term,) = small.terms(advantage="group", ntl=ntl).of_update()
        metrics = jax.eval_shape(term.loss, {"policy": small.params["policy"]}, batch).metrics
        assert metrics.means.keys() >= {"actor/pg_loss"} and not [name for name in metrics.means if "ntl" in name]


# Which updates have anything to teach.


@pytest.fixture(scope="module")
def silent(batch) -> Batch[Experience]:
    """No token counts: equal rewards with dynamic sampling, all responses cut off and masked, all rejected."""
    targets = batch.tokens.targets
    experience = batch.tokens._replace(
        targets=targets._replace(mask=np.zeros_like(targets.mask)), reference_log_probs=batch.tokens.old_log_probs
    )
    return Batch(batch.rows, experience, policy_weights(experience, scale=8, reference_weight=0.1))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("settings", [{"advantage": "group", "entropy_weight": 0.1}, {"critic": "own"}], ids=str)
def test_an_update_in_which_no_token_counts_has_no_weight(small, batch, silent, settings, packed):
    terms = small.terms(**settings)
    assert not terms.have_weight(pack(silent) if packed else silent)
    assert terms.have_weight(pack(batch) if packed else batch)


@pytest.mark.parametrize("packed", [False, True])
def test_one_token_that_counts_is_enough(small, batch, silent, packed):
    targets = batch.tokens.targets
    mask = np.zeros_like(targets.mask)
    mask[5, 0] = True
    experience = batch.tokens._replace(targets=targets._replace(mask=mask))
    one = Batch(batch.rows, experience, policy_weights(experience, scale=8))
    assert small.terms().have_weight(pack(one) if packed else one)


@pytest.mark.parametrize(
    ("settings", "has_weight"),
    [
        ({"advantage": "group"}, False),
        ({"advantage": "group", "entropy_weight": 0.1}, True),  # the bonus is not corrected
        ({"critic": "own"}, True),  # the critic learns from every token
        ({"critic": "shared"}, True),
    ],
    ids=str,
)
def test_corrections_of_weight_0_silence_the_policy_gradient_and_nothing_else(small, batch, settings, has_weight):
    """The sampler is so far from the trainer that no token lies within the band."""
    without = batch.weights._replace(numbers=np.zeros_like(batch.weights.numbers))
    corrected = batch.tokens._replace(correction_weights=np.zeros_like(batch.tokens.old_log_probs))
    silenced = batch._replace(tokens=corrected, weights=without)
    assert small.terms(**settings).have_weight(silenced) == has_weight


def test_under_such_corrections_numbers_and_the_divergence_still_have_weight(small, batch):
    corrected = batch.tokens._replace(correction_weights=np.zeros_like(batch.tokens.old_log_probs))
    nothing = batch._replace(tokens=corrected)
    assert small.terms(advantage="group").have_weight(nothing)
    for ntl in (NTLSection(enabled=False), NTLSection(weight=0.0)):
        terms = small.terms(advantage="group", ntl=ntl)
        assert not terms.have_weight(nothing)
        with_reference = nothing.weights._replace(reference=0.1 * batch.weights.loss)
        assert terms.have_weight(nothing._replace(weights=with_reference))
        without = with_reference._replace(reference=0.0 * batch.weights.loss)
        assert not terms.have_weight(nothing._replace(weights=without))


def test_advantages_of_zero_are_something_to_learn_from_as_far_as_weights_go(small, batch):
    """Only weights decide: an update with equal rewards, which still is penalised or regularised, is made."""
    tokens = batch.tokens._replace(advantages=np.zeros_like(batch.tokens.advantages))
    assert small.terms(advantage="group").have_weight(batch._replace(tokens=tokens))

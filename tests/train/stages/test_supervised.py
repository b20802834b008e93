# SPDX-License-Identifier: Apache-2.0
"""The supervised stage: it learns the reference solutions, and goes on where it stopped."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import chex
import jax
import numpy as np
import pytest

from ntl_jax.config import RunConfig
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Version
from ntl_jax.train.factory import supervised_trainer, supervised_update


def config_of(setup, **optimizer):
    warm_start = setup.config.warm_start
    warm_start = dataclasses.replace(
        warm_start,
        optimizer=dataclasses.replace(warm_start.optimizer, warmup_steps=0, schedule="constant", **optimizer),
    )
    return dataclasses.replace(setup.config, warm_start=warm_start)


def trainer_of(setup, **optimizer):
    config = config_of(setup, **optimizer)
    return supervised_trainer(config, supervised_update(config, setup.policy, setup.prompts), setup.params())


def with_method(setup, method: Any) -> RunConfig:
    return dataclasses.replace(setup.config, warm_start=dataclasses.replace(setup.config.warm_start, ntl_method=method))


def losses(trainer, steps: int) -> list[float]:
    return [trainer.step()[0]["warm_start/loss"] for _ in range(steps)]


@pytest.fixture(scope="module")
def stepped(setup):
    """A trainer after four steps, with its metrics."""
    trainer = trainer_of(setup)
    return trainer, [trainer.step() for _ in range(4)]


def test_it_learns_cross_entropy_and_ntl(stepped):
    first, *_, last = [metrics for metrics, scored in stepped[1] if scored is None]
    assert last["warm_start/cross_entropy"] < first["warm_start/cross_entropy"] - 0.1
    assert {"warm_start/ntl_loss", "warm_start/grad_norm", "perf/throughput", "timing_s/step"} <= last.keys()
    assert last["warm_start/loss"] == pytest.approx(
        last["warm_start/cross_entropy"] + 0.3 * last["warm_start/ntl_loss"], rel=1e-5
    )
    assert last["non_finite"] == 0


def test_it_is_evaluated_after_its_last_step_and_names_the_prompts_of_a_step(setup, stepped):
    trainer, _ = stepped
    assert (trainer.name, trainer.total, trainer.eval_every) == ("warm_start", 4, None)
    assert len(trainer.last_prompts) == 8 and set(trainer.last_prompts) <= {p.index for p in setup.prompts.train}


def test_rows_of_padding_ids_do_not_move(setup, stepped):
    """The built-in tokenizer has 492 tokens, the policy 512 rows."""
    after, before = (np.asarray(params["embedding"][...]) for params in (stepped[0].state.policy.params, setup.initial))
    moved = np.any(after != before, axis=1)
    assert moved[:492].all() and not moved[492:].any()


def test_it_goes_on_where_it_stopped(setup, stepped):
    trainer, steps = stepped
    again = trainer_of(setup)
    losses(again, 2)
    state, position = again.state, again.position()
    other = trainer_of(setup)
    other.restore(state, position, {})
    assert losses(other, 2) == [metrics["warm_start/loss"] for metrics, _ in steps[2:]]
    chex.assert_trees_all_equal(other.state, trainer.state)
    assert other.position() == trainer.position()


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_what_is_handed_on_is_the_average_where_one_is_kept(setup, ema_decay):
    trainer = trainer_of(setup, ema_decay=ema_decay)
    assert trainer.weights().version == Version(-trainer.total)
    kept = trainer.state.policy.average
    assert (kept is not None) == bool(ema_decay)
    chex.assert_trees_all_equal(trainer.weights().params, setup.initial)


def test_a_step_that_was_compiled_ahead_is_the_same_step_and_compiles_nothing(setup, stepped):
    compiled: list[str] = []

    def listen(event: str, duration_secs: float, **about: str | int) -> None:
        if event.endswith("backend_compile_duration"):
            compiled.append(str(about.get("fun_name")))

    update = supervised_update(config_of(setup), setup.policy, setup.prompts)
    trainer = supervised_trainer(config_of(setup), update, setup.params())
    jax.monitoring.register_event_duration_secs_listener(listen)
    with ThreadPoolExecutor(1) as background:
        update.compile_ahead(background)
    before = list(compiled)
    metrics, _ = trainer.step()
    jax.monitoring.unregister_event_duration_listener(listen)
    assert "jit(step)" in before and compiled == before
    assert metrics["warm_start/loss"] == stepped[1][0][0]["warm_start/loss"]


def test_a_loss_of_places_weighs_the_digits_of_a_batch_by_them_and_is_learned(setup):
    config, indices = with_method(setup, "del"), np.arange(8)
    update = supervised_update(config, setup.policy, setup.prompts)
    (batch, *_), (plain, *_) = (
        x.batch(indices) for x in (update, supervised_update(config_of(setup), setup.policy, setup.prompts))
    )
    weights, unweighted, has_number = (
        np.asarray(x) for x in (batch.weights.numbers, plain.weights.numbers, plain.tokens.has_number)
    )
    assert {2.0, 4.0} <= set(np.round(weights[has_number] / unweighted[has_number], 3).tolist())
    np.testing.assert_array_equal(batch.weights.loss, plain.weights.loss)
    trainer = supervised_trainer(config, update, setup.params())
    metrics = [trainer.step()[0] for _ in range(2)]
    assert all(0 < x["warm_start/ntl_loss"] < np.inf and x["non_finite"] == 0 for x in metrics)


@pytest.mark.parametrize("method", ["del", "ntil"])
def test_a_loss_of_places_is_refused_where_tokens_hold_several_digits(setup, method):
    table = NumberTable.from_vocab({"7": 0, "42": 1}, kind="numbers", vocab_size=setup.policy.model.vocab_size)
    policy = dataclasses.replace(setup.policy, table=table)
    with pytest.raises(ValueError, match=f"ntl_method='{method}' weighs digits .* choose another method"):
        supervised_update(with_method(setup, method), policy, setup.prompts)

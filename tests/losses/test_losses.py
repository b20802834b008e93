# SPDX-License-Identifier: Apache-2.0
"""Claims about the package: what its import loads, bfloat16 inputs, eight devices and strict promotion."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from ntl_jax import losses

B, T = 8, 6


def test_importing_the_losses_loads_nothing_heavy():
    code = "import sys, ntl_jax.losses; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert {"jax", "numpy", "jaxtyping"} <= loaded
    heavy = "flax optax orbax chex transformers tokenizers torch ray vllm matplotlib plotly tyro rich wandb datasets"
    assert not loaded & set(heavy.split())


def batch():
    rng = np.random.default_rng(0)
    normal = functools.partial(rng.normal, size=(B, T))
    mask = jnp.array(rng.random((B, T)) > 0.3).at[2].set(False)
    log_probs, old, rollout, rewards, values = (jnp.array(normal(), jnp.float32) for _ in range(5))
    digit_logits = jnp.array(rng.normal(size=(B, T, 10)), jnp.float32)
    segment_ids = jnp.broadcast_to(jnp.array([[0, 0, 0, 1, 1, 2]]), (B, T))
    return {
        "log_probs": log_probs, "old": old, "rollout": rollout, "rewards": rewards, "values": values, "mask": mask,
        "segment_ids": segment_ids, "group_ids": jnp.array([3, -1, 3, 9, -1, 3, 9, -1]), "digit_logits": digit_logits,
    }  # fmt: skip


def per_row(log_probs, old, rollout, rewards, values, mask, segment_ids, digit_logits):
    """Everything that looks at one row at a time, so that it can be mapped over rows."""
    digits, spread = jnp.arange(10.0), jnp.where(jnp.arange(10) < 8, 0.125, 0.0)
    truth = jnp.broadcast_to(jnp.arange(T) % 10, mask.shape)
    numerals = jnp.where(mask, segment_ids, -1)
    smape = losses.numeral_smape(digit_logits, truth, truth, numerals, num_numerals=3)
    advantages, returns = losses.gae(rewards, values, mask, gamma=0.9, lam=0.8)
    gspo = functools.partial(losses.gspo_policy_loss, mask=mask, segment_ids=segment_ids)
    token_losses = (losses.clipped_policy_loss, losses.cispo_policy_loss, losses.sapo_policy_loss)
    return {
        **{str(i): loss(log_probs, old, advantages) for i, loss in enumerate((*token_losses, gspo))},
        "reinforce": losses.reinforce_policy_loss(log_probs, None, advantages),
        "value": losses.clipped_value_loss(values, rewards, returns),
        "numbers": losses.wasserstein_1(digit_logits, jnp.broadcast_to(spread, digit_logits.shape), digits),
        "numerals": jnp.sum(smape, axis=-1, keepdims=True),
        "entropy": losses.entropy(digit_logits),
        "kl": losses.kl_k3_plus(log_probs, old) + losses.kl_k1_plus(log_probs, old) + losses.kl_abs(log_probs, old),
        "truncated": losses.truncated_importance_weights(old, rollout, mask),
        "banded": losses.banded_importance_weights(old, rollout, mask, low=0.5, high=2.0, level="sequence"),
        "kept": losses.sequence_rejection_mask(old, rollout, mask, low=0.0, high=0.5).astype(jnp.float32),
    }


def objective(log_probs, group_ids, **rest):
    """One scalar through every function of the batch."""
    scores = jnp.sum(jnp.where(rest["mask"], rest["rewards"], 0.0), axis=-1)
    advantages = losses.group_advantages(scores, group_ids) + losses.leave_one_out_advantages(scores, group_ids)
    advantages += losses.optimal_baseline_advantages(scores, group_ids, jnp.sum(rest["mask"], axis=-1))
    by_token = losses.reinforce_plus_plus_advantages(rest["rewards"], rest["mask"], group_ids=group_ids)
    by_token += losses.remax_advantages(rest["rewards"], scores, rest["mask"])
    by_token += losses.whiten(rest["values"], rest["mask"])
    loss = losses.clipped_policy_loss(log_probs, rest["old"], advantages[:, None] + by_token)
    loss += sum(per_row(log_probs, **rest).values())
    return losses.aggregate(loss, rest["mask"], mode="seq-mean-token-mean")


def test_bfloat16_inputs_give_the_float32_results_of_the_same_numbers():
    arrays = batch()
    group_ids = arrays.pop("group_ids")
    narrow = {name: x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x for name, x in arrays.items()}
    wide = {name: x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x for name, x in narrow.items()}

    @jax.jit
    def everything(arrays):
        rewards, mask, scores = arrays["rewards"], arrays["mask"], arrays["values"][:, 0]
        return per_row(**arrays) | {
            "group": losses.group_advantages(scores, group_ids),
            "leave one out": losses.leave_one_out_advantages(scores, group_ids),
            "optimal baseline": losses.optimal_baseline_advantages(scores, group_ids, jnp.sum(mask, axis=-1)),
            "gdpo": losses.gdpo_advantages(rewards, group_ids),
            "reinforce++": losses.reinforce_plus_plus_advantages(rewards, mask, group_ids=group_ids),
            "remax": losses.remax_advantages(rewards, scores, mask),
            "whiten": losses.whiten(rewards, mask),
            "aggregate": losses.aggregate(rewards, mask),
        }

    actual, expected = everything(narrow), everything(wide)
    for name in expected:
        assert actual[name].dtype == jnp.float32, name
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("how", ["sharded", "strict promotion"])
def test_eight_devices_and_strict_promotion_equal_the_eager_value_and_gradient(how):
    rest = batch()
    trained = {name: rest.pop(name) for name in ("log_probs", "digit_logits")}
    step = jax.value_and_grad(lambda trained, rest: objective(**trained, **rest))
    value, gradients = step(trained, rest)
    assert np.isfinite(value) and all(x.any() and not x[2].any() for x in gradients.values())
    if how == "sharded":
        mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
        trained, rest = jax.device_put((trained, rest), NamedSharding(mesh, P("data")))
    with jax.numpy_dtype_promotion("strict" if how == "strict promotion" else "standard"):
        other_value, other_gradients = jax.jit(step)(trained, rest)
    np.testing.assert_allclose(other_value, value, rtol=1e-5)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(other_gradients[name], gradient, atol=1e-6, err_msg=name)

# SPDX-License-Identifier: Apache-2.0
"""Claims about arguments: every public function names the error in lists, wrong shapes and invalid numbers."""

import functools
import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntl_jax import losses, ops
from ntl_jax.numerals import NumberTable

X, MASK, ROW, LOGITS = jnp.full((2, 3), -1.0), jnp.ones((2, 3), bool), jnp.zeros(2), jnp.zeros((2, 3, 10))
IDS, TRUTH, DIGITS = jnp.zeros(2, int), jnp.zeros((2, 3), int), jnp.arange(10.0)
TABLE = NumberTable.from_vocab({str(d): d for d in range(10)}, vocab_size=10)
HEAD = {"hidden": jnp.ones((2, 3, 4)), "head": jnp.ones((4, 10)), "targets": TRUTH, "number_ids": jnp.arange(2)}
OLD = {"old_log_probs": X, "rollout_log_probs": X, "mask": MASK}
POLICY = {"log_probs": X, "old_log_probs": X, "advantages": X}
GROUPS = {"scores": ROW, "group_ids": IDS, "where": jnp.ones(2, bool)}
NUMBERS = {"number_logits": LOGITS, "targets": X, "values": DIGITS}
NUMBERS_IN_VOCABULARY = {"number_log_probs": LOGITS, "targets": X, "values": DIGITS}
NUMERALS = {
    "digit_logits": LOGITS, "digit_targets": TRUTH, "exponents": TRUTH, "numeral_ids": TRUTH, "num_numerals": 1,
}  # fmt: skip

# Each public function that takes arrays, with arguments that it accepts.
ACCEPTED = {
    losses.number_token_wasserstein: NUMBERS,
    losses.number_token_mse: NUMBERS,
    losses.number_token_mae: NUMBERS,
    losses.number_token_huber: NUMBERS,
    losses.number_token_dist2: NUMBERS,
    losses.number_token_gaussian: NUMBERS_IN_VOCABULARY,
    losses.number_token_raft: NUMBERS_IN_VOCABULARY,
    losses.number_token_real: NUMBERS_IN_VOCABULARY,
    losses.number_token_smmd: NUMBERS,
    losses.digit_entropy: NUMBERS,
    losses.digit_entropy_weights: {"exponents": TRUTH},
    losses.ntil_weights: {"digits_behind": TRUTH},
    losses.numeral_ntil: NUMERALS,
    losses.number_token_loss: {"logits": LOGITS, "labels": TRUTH, "table": TABLE, "where": MASK},
    losses.with_number_mass: {"loss": X, "number_log_mass": X, "max_loss": 9.0},
    losses.wasserstein_1: {"number_logits": LOGITS, "target_probs": LOGITS, "values": DIGITS},
    losses.numeral_smape: {**NUMERALS, "same_sign": jnp.ones((2, 1), bool)},
    losses.clipped_policy_loss: POLICY,
    losses.gspo_policy_loss: {**POLICY, "mask": MASK, "segment_ids": TRUTH},
    losses.cispo_policy_loss: POLICY,
    losses.sapo_policy_loss: POLICY,
    losses.reinforce_policy_loss: {"log_probs": X, "old_log_probs": None, "advantages": X},
    losses.entropy: {"logits": LOGITS},
    losses.clipped_value_loss: {"values": X, "old_values": X, "returns": X},
    losses.gae: {"rewards": X, "values": X, "mask": MASK, "segment_ids": TRUTH},
    losses.whiten: {"x": X, "mask": MASK},
    losses.group_advantages: GROUPS,
    losses.leave_one_out_advantages: GROUPS,
    losses.optimal_baseline_advantages: {**GROUPS, "lengths": IDS},
    losses.gdpo_advantages: {**GROUPS, "scores": X, "weights": X[0]},
    losses.reinforce_plus_plus_advantages: {"rewards": X, "mask": MASK, "group_ids": IDS, "where": GROUPS["where"]},
    losses.remax_advantages: {"rewards": X, "greedy_scores": ROW, "mask": MASK},
    **{
        getattr(losses, name): {"log_probs": X, "ref_log_probs": X}
        for name in ("kl_k1", "kl_k2", "kl_k3", "kl_abs", "kl_k1_plus", "kl_k3_plus")
    },
    losses.truncated_importance_weights: {**OLD, "segment_ids": TRUTH},
    losses.banded_importance_weights: {**OLD, "low": 0.5, "high": 2.0},
    losses.sequence_rejection_mask: {**OLD, "low": -0.1, "high": 0.1},
    losses.correction_sums: {**OLD, "applied": X},
    losses.aggregate: {"per_token": X, "mask": MASK, "segment_ids": TRUTH},
    losses.token_weights: {"mask": MASK, "segment_ids": TRUTH},
    ops.vocab_head: HEAD,
    ops.vocab_head_dense: HEAD,
    ops.head_logits: {"hidden": HEAD["hidden"], "head": HEAD["head"], "temperature": 1.0},
    ops.masked_sum: {"x": X, "mask": MASK},
    ops.masked_mean: {"x": X, "mask": MASK},
    ops.masked_variance: {"x": X, "mask": MASK},
    ops.check_mask: {"mask": MASK},
}  # fmt: skip
WITHOUT_ARRAYS = {
    *("AdaptiveKLController", "FixedKLController", "HeadStats", "Spread"),
    *("correction_metrics", "vocab_head_loss"),
}
ARRAYS = [
    (function, name) for function, given in ACCEPTED.items() for name, x in given.items() if isinstance(x, jax.Array)
]


def test_every_public_function_is_in_the_table():
    public = {getattr(package, name) for package in (losses, ops) for name in set(package.__all__) - WITHOUT_ARRAYS}
    assert public - {ops.masked_whiten} == ACCEPTED.keys() - {losses.whiten}


@pytest.mark.parametrize(("function", "name"), ARRAYS, ids=[f"{f.__name__}-{name}" for f, name in ARRAYS])
def test_a_list_instead_of_an_array_is_refused_with_a_fix(function, name):
    for x in (ACCEPTED[function][name].tolist(), "text", 1.0):
        with pytest.raises(ValueError, match=rf"{name} (is|are) a (list|str|float): pass an array") as error:
            function(**{**ACCEPTED[function], name: x})
        assert "jnp.asarray(" in str(error.value) or "np.unique(" in str(error.value)


# Arguments whose shape, or last axis, need not agree with that of another argument.
FREE = {
    (losses.digit_entropy_weights, "exponents"), (losses.ntil_weights, "digits_behind"),
    (losses.entropy, "logits"), (ops.check_mask, "mask"), (ops.head_logits, "hidden"), (ops.head_logits, "head"),
    *((head, name) for head in (ops.vocab_head, ops.vocab_head_dense) for name in ("head", "number_ids")),
}  # fmt: skip
BOUND = [pair for pair in ARRAYS if pair not in FREE]


@pytest.mark.parametrize(("function", "name"), BOUND, ids=[f"{f.__name__}-{name}" for f, name in BOUND])
def test_an_extra_entry_or_axis_is_refused_with_the_shapes(function, name):
    x = ACCEPTED[function][name]
    for other in (jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, 1)]), jnp.broadcast_to(x, (3, *x.shape))):
        shown = "|".join(re.escape(str(shape)) for shape in (other.shape, other.shape[:-1]))
        with pytest.raises(ValueError, match=shown):
            jax.eval_shape(functools.partial(function, **scalars(function)), **{**arrays(function), name: other})


def arrays(function):
    return {name: x for name, x in ACCEPTED[function].items() if isinstance(x, jax.Array)}


def scalars(function):
    return {name: x for name, x in ACCEPTED[function].items() if not isinstance(x, jax.Array)}


# Each number that a public function takes, with invalid values.
OUT_OF_RANGE = [
    (losses.number_token_wasserstein, "squash", (1.0, -2.0, np.nan, np.inf)),
    (losses.number_token_huber, "delta", (0.0, -1.0, np.nan)),
    (losses.number_token_dist2, "temperature", (0.0, -1.0, np.nan)),
    (losses.number_token_gaussian, "sigma", (0.0, -1.0, np.nan)),
    (losses.number_token_real, "likelihood_weight", (-1.0, np.nan)),
    (losses.number_token_smmd, "bandwidth", (0.0, -1.0, np.nan)),
    (losses.number_token_smmd, "squash", (1.0, -2.0, np.nan, np.inf)),
    (losses.ntil_weights, "base", (0.0, -1.0, np.nan)),
    (losses.numeral_ntil, "num_numerals", (-1,)),
    (losses.numeral_ntil, "relative_weight", (-1.0, np.nan)),
    (losses.numeral_ntil, "magnitude_weight", (-1.0, np.nan)),
    (losses.with_number_mass, "max_loss", (-1.0, np.nan)),
    (losses.numeral_smape, "num_numerals", (-1,)),
    (losses.clipped_policy_loss, "clip_low", (-0.1, np.nan, "0.2")),
    (losses.clipped_policy_loss, "clip_high", (-0.1, np.nan, jnp.float32(-1))),
    (losses.clipped_policy_loss, "dual_clip", (1.0, 0.0, np.nan)),
    (losses.gspo_policy_loss, "clip_low", (-3e-4, np.nan)),
    (losses.gspo_policy_loss, "clip_high", (-3e-4, np.nan)),
    (losses.cispo_policy_loss, "clip_low", (-0.1, np.nan)),
    (losses.cispo_policy_loss, "clip_high", (-0.1, np.nan)),
    (losses.sapo_policy_loss, "tau_positive", (0.0, -1.0, np.nan, np.inf)),
    (losses.sapo_policy_loss, "tau_negative", (0.0, -1.0, np.nan, np.inf)),
    (losses.clipped_value_loss, "clip", (-0.5, np.nan, None)),
    (losses.gae, "gamma", (-0.1, 1.1, np.nan)),
    (losses.gae, "lam", (-0.1, 1.1, np.nan)),
    (losses.group_advantages, "epsilon", (-1e-6, np.nan)),
    (losses.gdpo_advantages, "epsilon", (-1e-6, np.nan)),
    (losses.reinforce_plus_plus_advantages, "gamma", (-0.1, 1.1, np.nan)),
    (losses.truncated_importance_weights, "cap", (0.0, -2.0, np.nan)),
    (losses.banded_importance_weights, "low", (-0.1, 1.5, 3.0, np.nan)),
    (losses.banded_importance_weights, "high", (0.9, 0.0, np.nan)),
    (losses.sequence_rejection_mask, "low", (0.01, 0.2, np.nan, None)),
    (losses.sequence_rejection_mask, "high", (-0.01, -0.2, np.nan)),
    (losses.correction_sums, "low", (-0.1, 2.5, np.nan)),
    (losses.correction_sums, "high", (-2.0, np.nan)),
    (losses.aggregate, "num_tokens", (-1, np.nan)),
    (losses.aggregate, "num_sequences", (-1, np.nan)),
    (losses.token_weights, "num_tokens", (-1, np.nan)),
    (losses.token_weights, "num_sequences", (-1, np.nan)),
    (losses.token_weights, "scale", (0, -8, np.nan, np.inf)),
    (ops.vocab_head, "temperature", (0.0, -1.0, np.nan)),
    (ops.vocab_head_dense, "temperature", (0.0, jnp.float32(-1.0), np.nan)),
    (ops.vocab_head, "chunk_size", (0, -1)),
]


@pytest.mark.parametrize(
    ("function", "name", "values"), OUT_OF_RANGE, ids=[f"{f.__name__}-{name}" for f, name, _ in OUT_OF_RANGE]
)
def test_invalid_numbers_are_refused(function, name, values):
    given = ACCEPTED[function] | ({"mode": "seq-mean-token-sum-norm"} if name == "scale" else {})
    for value in values:
        with pytest.raises(ValueError, match=rf"{name}=.*must be"):
            function(**{**given, name: value})


def test_every_number_of_a_public_function_is_in_the_table_of_ranges():
    numbers = {
        (function, name)
        for function in ACCEPTED
        for name, parameter in inspect.signature(function).parameters.items()
        if "float" in str(parameter.annotation) and name not in arrays(function)
    }
    tested = {(function, name) for function, name, _ in OUT_OF_RANGE}
    handed_on = {(losses.aggregate, "scale"), (losses.number_token_loss, "max_loss"), (ops.head_logits, "temperature")}
    assert numbers - tested <= handed_on


def test_traced_values_are_not_checked():
    for function, name, values in OUT_OF_RANGE:
        if name not in ("num_numerals", "chunk_size"):
            given = ACCEPTED[function] | ({"mode": "seq-mean-token-sum-norm"} if name == "scale" else {})
            with_number = functools.partial(function, **{x: given[x] for x in given if x != name})
            traced = jax.eval_shape(lambda x, f=with_number, name=name: f(**{name: x}), values[0])
            assert all(x.dtype in (jnp.float32, jnp.bool_) for x in jax.tree.leaves(traced)), (function, name)


@pytest.mark.parametrize("function", [losses.clipped_policy_loss, losses.cispo_policy_loss, losses.sapo_policy_loss])
def test_an_entry_too_many_in_a_policy_loss_is_answered_with_what_to_do(function):
    with pytest.raises(ValueError, match=r"advantages has an entry too many .* such as advantages\[\.\.\., :-1\]"):
        function(**POLICY | {"advantages": jnp.zeros((2, 4))})


def test_a_text_in_place_of_a_number_is_shown_as_one():
    with pytest.raises(ValueError, match=r"clip_low='0.2' must be at least 0"):
        losses.clipped_policy_loss(**POLICY, clip_low="0.2")  # pyright: ignore

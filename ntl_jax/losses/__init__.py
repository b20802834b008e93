# SPDX-License-Identifier: Apache-2.0
"""Losses for numeric reasoning and policy optimization, as pure functions of arrays.

Loads jax, numpy and jaxtyping only. Everything is per token, in float32, and works under jit, grad, vmap and sharding;
only `aggregate` reduces.
"""

from ntl_jax.losses.advantages import (
    gae,
    group_advantages,
    leave_one_out_advantages,
    optimal_baseline_advantages,
    reinforce_plus_plus_advantages,
    remax_advantages,
)
from ntl_jax.losses.aggregate import aggregate, token_weights
from ntl_jax.losses.correction import (
    banded_importance_weights,
    correction_metrics,
    correction_sums,
    sequence_rejection_mask,
    truncated_importance_weights,
)
from ntl_jax.losses.kl import (
    AdaptiveKLController,
    FixedKLController,
    kl_abs,
    kl_k1,
    kl_k1_plus,
    kl_k2,
    kl_k3,
    kl_k3_plus,
)
from ntl_jax.losses.numbers.kernel import number_token_smmd
from ntl_jax.losses.numbers.mass import with_number_mass
from ntl_jax.losses.numbers.number_token import (
    number_token_huber,
    number_token_loss,
    number_token_mae,
    number_token_mse,
    number_token_wasserstein,
)
from ntl_jax.losses.numbers.numeral import numeral_smape
from ntl_jax.losses.numbers.place_weighted import digit_entropy, digit_entropy_weights, ntil_weights, numeral_ntil
from ntl_jax.losses.numbers.regression_aware import number_token_raft, number_token_real
from ntl_jax.losses.numbers.soft_targets import number_token_dist2, number_token_gaussian
from ntl_jax.losses.numbers.wasserstein import wasserstein_1
from ntl_jax.losses.policy import (
    cispo_policy_loss,
    clipped_policy_loss,
    entropy,
    gspo_policy_loss,
    reinforce_policy_loss,
    sapo_policy_loss,
)
from ntl_jax.losses.several_rewards import gdpo_advantages
from ntl_jax.losses.value import clipped_value_loss
from ntl_jax.ops.masked import masked_whiten as whiten

__all__ = [
    "AdaptiveKLController",
    "FixedKLController",
    "aggregate",
    "banded_importance_weights",
    "cispo_policy_loss",
    "clipped_policy_loss",
    "clipped_value_loss",
    "correction_metrics",
    "correction_sums",
    "digit_entropy",
    "digit_entropy_weights",
    "entropy",
    "gae",
    "gdpo_advantages",
    "group_advantages",
    "gspo_policy_loss",
    "kl_abs",
    "kl_k1",
    "kl_k1_plus",
    "kl_k2",
    "kl_k3",
    "kl_k3_plus",
    "leave_one_out_advantages",
    "ntil_weights",
    "number_token_dist2",
    "number_token_gaussian",
    "number_token_huber",
    "number_token_loss",
    "number_token_mae",
    "number_token_mse",
    "number_token_raft",
    "number_token_real",
    "number_token_smmd",
    "number_token_wasserstein",
    "numeral_ntil",
    "numeral_smape",
    "optimal_baseline_advantages",
    "reinforce_plus_plus_advantages",
    "reinforce_policy_loss",
    "remax_advantages",
    "sapo_policy_loss",
    "sequence_rejection_mask",
    "token_weights",
    "truncated_importance_weights",
    "wasserstein_1",
    "whiten",
    "with_number_mass",
]

# SPDX-License-Identifier: Apache-2.0
"""Array operations that several packages share: masked reductions and the vocabulary head."""

from ntl_jax.ops.arguments import check_mask
from ntl_jax.ops.head_stats import HeadStats, head_logits
from ntl_jax.ops.masked import masked_mean, masked_sum, masked_variance, masked_whiten
from ntl_jax.ops.spread import Spread
from ntl_jax.ops.vocab_head import vocab_head, vocab_head_dense, vocab_head_loss

__all__ = [
    "HeadStats",
    "Spread",
    "check_mask",
    "head_logits",
    "masked_mean",
    "masked_sum",
    "masked_variance",
    "masked_whiten",
    "vocab_head",
    "vocab_head_dense",
    "vocab_head_loss",
]

# SPDX-License-Identifier: Apache-2.0
"""The settings of policy optimization. Formulas and sources of each choice: docs/algorithms.md."""

import dataclasses
from typing import Literal

from ntl_jax.config.setting import (
    DECAY,
    FINITE,
    FRACTION,
    SHARE,
    WEIGHTS,
    Range,
    above,
    at_least,
    or_none,
    positive,
    setting,
    unless,
    when,
)

_GAE = when("algorithm.advantage", "gae")
_GDPO = when("algorithm.advantage", "gdpo")
_KEYS: Range[tuple[str, ...]] = Range(
    "be two or more different keys, none of them blank",
    lambda keys: len({*keys}) == len(keys) > 1 and all(key.strip() for key in keys),
)
_RECOMPUTE = when("algorithm.old_log_probs", "recompute")
_HAS_MOMENTS = unless(".name", "adafactor", instead="adamw")


@dataclasses.dataclass(frozen=True)
class OptimizerSection:
    """Optimizer with linear warm-up, then a schedule; one per stage."""

    name: Literal["adamw", "adafactor", "muon"] = "adamw"
    """AdamW; Adafactor, which keeps only rows and columns of the variance; or Muon on the layers' matrices, scaled so
    that AdamW's learning rates work, with AdamW on everything else."""
    learning_rate: float = setting(1e-3, SHARE)
    """Peak learning rate."""
    warmup_steps: int = setting(20, at_least(0))
    """Updates over which the learning rate rises: from 1 / warmup_steps of the peak at the first to the peak."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Schedule after the warm-up; linear and cosine decay to zero over the model's updates in the stage; for the
    policy, these are the updates after critic_warmup."""
    weight_decay: float = setting(0.0, at_least(0))
    """Decoupled weight decay of the layers' matrices and the embeddings; not of biases, norms or the value head."""
    b1: float = setting(0.9, DECAY, needs=[_HAS_MOMENTS])
    """Decay of the gradient's mean; Adafactor keeps no mean."""
    b2: float = setting(0.99, DECAY, needs=[_HAS_MOMENTS])
    """Decay of the gradient's variance; Adafactor has its own schedule."""
    max_grad_norm: float = setting(1.0, above(0))
    """Gradients are scaled down to this global norm."""
    ema_decay: float = setting(0.0, DECAY)
    """Decay of a moving average of the policy's parameters, in float32 (0.99 averages about the last 100 updates). The
    average is evaluated, exported and passed to the next stage; sampling and updates use the newest parameters. 0:
    no average."""


@dataclasses.dataclass(frozen=True)
class ClippedSection:
    """objective=clipped (PPO): the surrogate stops growing when the importance ratio leaves the clip range."""

    clip_low: float = setting(0.2, above(0))
    """The ratio is clipped below at 1 - clip_low."""
    clip_high: float = setting(0.2, above(0))
    """The ratio is clipped above at 1 + clip_high."""
    dual_clip: float | None = setting(None, or_none(above(1, " (3 is usual)")))
    """Largest ratio that a negative advantage is multiplied by; None: no bound."""


@dataclasses.dataclass(frozen=True)
class GspoSection:
    """objective=gspo: clips the ratio of a whole response, whose logarithm is the mean over its tokens."""

    clip_low: float = setting(3e-4, above(0))
    """The response's ratio is clipped below at 1 - clip_low; the default is the paper's."""
    clip_high: float = setting(4e-4, above(0))
    """The response's ratio is clipped above at 1 + clip_high; the default is the paper's."""


@dataclasses.dataclass(frozen=True)
class CispoSection:
    """objective=cispo: every token is learned from, with the clipped ratio as its weight."""

    clip_low: float = setting(1.0, above(0))
    """The weight is at least 1 - clip_low; from 1 on there is no lower bound, as in the paper."""
    clip_high: float = setting(0.2, above(0))
    """The weight is at most 1 + clip_high. The paper tunes it and names no value; 0.2 is from verl's example."""


@dataclasses.dataclass(frozen=True)
class SapoSection:
    """objective=sapo: a soft gate of the importance ratio instead of a clip."""

    tau_positive: float = setting(1.0, above(0))
    """Steepness of the gate for positive advantages."""
    tau_negative: float = setting(1.05, above(0))
    """Steepness of the gate for other advantages."""


@dataclasses.dataclass(frozen=True)
class KLSection:
    """Divergence from the reference policy: a frozen copy of the policy before the first iteration."""

    weight: float = setting(0.0, at_least(0))
    """Weight of the divergence; 0: no reference policy, at no cost in memory or time."""
    place: Literal["loss", "reward"] = "loss"
    """Add the divergence to the loss, or subtract it from each token's reward."""
    estimator: Literal["k1", "k2", "k3", "abs", "k1+", "k3+"] = "k3+"
    """Estimator per token; with +, its gradient is k2's, which in expectation is the gradient of the KL."""
    controller: Literal["fixed", "adaptive"] = "fixed"
    """adaptive: the weight changes to keep the divergence at the target."""
    target: float = setting(0.1, above(0), needs=[when(".controller", "adaptive")])
    """adaptive: divergence to hold, nats per token."""
    horizon: float = setting(10_000.0, above(0), needs=[when(".controller", "adaptive")])
    """adaptive: samples over which an error of 20% changes the weight by about 20%."""


@dataclasses.dataclass(frozen=True)
class CorrectionSection:
    """For old_log_probs=recompute: w is the trainer's probability of the sampled tokens over the sampler's."""

    weights: Literal["none", "truncated", "banded"] = "truncated"
    """A token's loss is multiplied by min(w, high) (TIS), or by w within [low, high] and 0 outside (IcePop)."""
    level: Literal["token", "sequence"] = "token"
    """Use w of each token, or of its whole response."""
    low: float = setting(0.5, at_least(0), needs=[when(".weights", "banded")])
    """banded: smallest w to keep, at most 1."""
    high: float = setting(2.0, above(0), needs=[when(".weights", "truncated", "banded")])
    """Largest w; at least 1 for banded."""
    rejection: Literal["none", "mean_k1", "mean_k3"] = "none"
    """Leave responses out of the update if their mean divergence per token is outside [reject_below, reject_above]."""
    reject_below: float | None = setting(None, or_none(FINITE), needs=[when(".rejection", "mean_k1", "mean_k3")])
    """Nats per token, at most 0; None: no bound. For mean_k1 with w in [a, b]: -log(b)."""
    reject_above: float | None = setting(None, or_none(FINITE), needs=[when(".rejection", "mean_k1", "mean_k3")])
    """Nats per token, at least 0; None: no bound. For mean_k1 with w in [a, b]: -log(a)."""


@dataclasses.dataclass(frozen=True)
class AlgorithmSection:
    """Policy optimization; by default clipped PPO with a group baseline."""

    advantage: Literal[
        "group",
        "gae",
        "leave_one_out",
        "reinforce_plus_plus",
        "reinforce_plus_plus_baseline",
        "optimal_baseline",
        "remax",
        "gdpo",
    ] = "group"
    """Baseline of a reward: mean and deviation of the prompt's samples (GRPO), a critic with generalized advantage
    estimation, the prompt's other samples (RLOO), the batch (REINFORCE++), the prompt's mean and then the batch, the
    prompt's length-weighted mean (OPO), the prompt's greedy response, or several rewards, each against the prompt's
    samples (GDPO)."""
    gdpo_reward_keys: tuple[str, ...] = setting(("exact_match", "closeness"), _KEYS, needs=[_GDPO])
    """gdpo: the rewards, by their keys in what the reward function returns; `score` is one too."""
    gdpo_reward_weights: tuple[float, ...] = setting((), WEIGHTS, needs=[_GDPO])
    """gdpo: weights of the normalized rewards, one for each key; empty: 1 each."""
    normalize_groups: bool = setting(True, needs=[when(".advantage", "group")])
    """group: divide by the deviation of a prompt's samples (GRPO); off (Dr. GRPO), near-equal rewards stay near 0."""
    objective: Literal["clipped", "gspo", "cispo", "sapo", "reinforce"] = "clipped"
    """Clipped surrogate (PPO), the same with the response's ratio, clipped weights, a soft gate, or no ratio; each
    except the last has its own section below."""
    clipped: ClippedSection = setting(ClippedSection(), needs=[when("algorithm.objective", "clipped")])
    gspo: GspoSection = setting(GspoSection(), needs=[when("algorithm.objective", "gspo")])
    cispo: CispoSection = setting(CispoSection(), needs=[when("algorithm.objective", "cispo")])
    sapo: SapoSection = setting(SapoSection(), needs=[when("algorithm.objective", "sapo")])
    aggregation: Literal[
        "token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"
    ] = "token-mean"
    """How token losses are reduced to one loss: every token, or every response, has equal weight. gspo and sapo are
    meant for seq-mean-token-mean; seq-mean-token-sum-norm divides by rollout.max_tokens."""
    entropy_weight: float = setting(0.0, at_least(0))
    """Weight of the entropy bonus."""
    kl: KLSection = setting(KLSection(), needs=[positive("algorithm.kl.weight")])
    old_log_probs: Literal["rollout", "recompute"] = "rollout"
    """Log-probs in the ratio's denominator: captured while sampling, or from a forward pass before the first update of
    an iteration, with `correction` for sampler-trainer mismatch."""
    correction: CorrectionSection = setting(CorrectionSection(), needs=[_RECOMPUTE])
    overlong: Literal["keep", "mask", "penalty"] = "keep"
    """Responses that end at rollout.max_tokens: keep them, mask them in the loss, or use DAPO's soft length penalty."""
    overlong_buffer: int = setting(16, at_least(1), needs=[when(".overlong", "penalty")])
    """penalty: number of tokens before rollout.max_tokens over which it rises from 0 to overlong_penalty."""
    overlong_penalty: float = setting(1.0, at_least(0), needs=[when(".overlong", "penalty")])
    """penalty: subtracted from the reward of a response of rollout.max_tokens."""
    dynamic_sampling: bool = False
    """Replace prompts whose samples all score the same, which teach nothing, by other prompts."""
    max_refills: int = setting(3, at_least(0), needs=[when(".dynamic_sampling", True)])
    """dynamic_sampling: most additional engine calls per iteration; prompts that are still missing are left out of the
    update."""
    epochs: int = setting(1, at_least(1))
    """Passes over each iteration's samples."""
    minibatches: int = setting(2, at_least(1))
    """Updates per pass."""
    gamma: float = setting(1.0, FRACTION, needs=[when(".advantage", "gae", "reinforce_plus_plus")])
    """gae, reinforce_plus_plus: discount per token."""
    lam: float = setting(1.0, FRACTION, needs=[_GAE])
    """gae: lambda; 1 is the Monte-Carlo return."""
    critic: Literal["own", "shared"] = setting("own", needs=[_GAE])
    """gae: a separate trunk, which starts as a copy of the policy's, or a value head on the policy's trunk."""
    critic_warmup: int = setting(0, at_least(0), needs=[_GAE])
    """gae: number of first iterations in which only the critic learns; with a shared trunk, only the value head."""
    critic_learning_rate: float | None = setting(None, or_none(SHARE), needs=[_GAE])
    """gae: peak learning rate of the critic; None: as in `optimizer`."""
    value_clip: float = setting(0.5, above(0), needs=[_GAE])
    """gae: distance from the values at sampling beyond which the value loss is clipped."""
    value_weight: float = setting(0.5, at_least(0), needs=[_GAE])
    """gae: weight of the critic's loss."""
    optimizer: OptimizerSection = OptimizerSection(learning_rate=1e-4, warmup_steps=5)
    """Optimizer of policy optimization."""

    @property
    def reward_keys(self) -> tuple[str, ...]:
        """The rewards that decide what is learned, by their keys in what the reward function returns."""
        return self.gdpo_reward_keys if self.advantage == "gdpo" else ("score",)

    @property
    def warmup_iterations(self) -> int:
        """Number of first iterations in which only the critic learns; 0 without a critic."""
        return self.critic_warmup if self.advantage == "gae" else 0

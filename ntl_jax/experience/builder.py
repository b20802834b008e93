# SPDX-License-Identifier: Apache-2.0
"""From scored samples to the experience that an iteration's updates learn from, before the first update.

Old and reference log-probs and the critic's values are computed only here. No update runs in between, so old log-probs
never come from an updated policy, which would make the importance ratio 1.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from ntl_jax.config import AlgorithmSection, RunConfig
from ntl_jax.experience.collector import Samples
from ntl_jax.experience.credit import Rewards, credit, overlong_penalties, token_rewards
from ntl_jax.experience.off_policy import off_policy_correction
from ntl_jax.losses.kl import KL_ESTIMATORS, KL_STATISTICS
from ntl_jax.metrics import Clock
from ntl_jax.numerals import number_targets
from ntl_jax.ops import masked_mean
from ntl_jax.records import AnyArray, AnyRows, Experience, Params, Targets
from ntl_jax.rows.layout import Layout
from ntl_jax.rows.padding import pad_tokens
from ntl_jax.rows.passes import RowPass, predicted_values, sampled_log_probs

OVER_TOKENS = ("actor/kl", "critic/advantages/mean", "critic/advantages/max", "critic/advantages/min")
"""Metrics that are undefined where no token counts: a controller must not read them."""


class Evidence(NamedTuple):
    """What is known about an iteration's samples before they are credited. None: not configured.

    Args:
        targets: the response tokens.
        rollout_log_probs: captured while sampling.
        old_log_probs: the trainer's, for ``old_log_probs=recompute``.
        reference_log_probs: the reference policy's.
        old_values: the critic's.
        rewards: the samples' rewards.
        kl_weight: weight of the divergence from the reference policy.
    """

    targets: Targets
    rollout_log_probs: Float[AnyArray, "B T"]
    old_log_probs: Float[AnyArray, "B T"] | None
    reference_log_probs: Float[AnyArray, "B T"] | None
    old_values: Float[AnyArray, "B T"] | None
    rewards: Rewards
    kl_weight: float | Float[AnyArray, ""]


class ExperienceBuilder:
    """Builds the experience of an iteration.

    Args:
        config: its ``algorithm``, ``rollout`` and ``divergence`` sections.
        layout: layout of the rows.
        graph: graph definition of the policy.
        reference: parameters of the reference policy; None without one.
        critic: graph definition of the critic; None without one.
        mesh: mesh of the parameters.
    """

    def __init__(
        self,
        config: RunConfig,
        layout: Layout,
        *,
        graph: nnx.GraphDef,
        reference: Params | None,
        critic: nnx.GraphDef | None,
        mesh: Mesh,
    ):
        self._algorithm, self._rollout, self._layout = config.algorithm, config.rollout, layout
        self._with_kinds = config.divergence.enabled
        self._graph, self._reference, self._critic = graph, reference, critic
        max_tokens = config.trainer.max_tokens_per_micro_batch
        self._log_probs = RowPass(sampled_log_probs, mesh, max_tokens)
        self._values = RowPass(predicted_values, mesh, max_tokens)

    def __call__(
        self, policy: Params, critic: Params | None, samples: Samples, kl_weight: float, clock: Clock
    ) -> tuple[AnyRows, Experience, dict[str, float]]:
        """The rows and the experience, unpacked and on the host, and their metrics.

        Args:
            policy, critic: parameters before the first update of the iteration; critic is None without one.
            samples: the iteration's samples.
            kl_weight: the controller's current weight.
            clock: records a lap per forward pass.
        """
        rows, targets = self.rows(samples)
        log_probs = [t.rollout_log_probs for t in samples.scored.trajectories]
        rollout = pad_tokens(log_probs, targets.mask.shape[1], 0.0, np.float32)
        old = reference = values = None
        if self._algorithm.old_log_probs == "recompute":
            old = self._pass(policy, rows, targets)
            clock.lap("old_log_prob")
        if self._reference is not None:
            reference = self._pass(self._reference, rows, targets)
            clock.lap("ref")
        if self._critic is not None:
            values = self._values(self._critic, critic, rows)
            clock.lap("values")
        rewards, metrics = self._rewards(samples)
        evidence = Evidence(targets, rollout, old, reference, values, rewards, kl_weight)
        experience, of_tokens = jax.device_get(build(self._algorithm, evidence))
        if not experience.mask.any():
            of_tokens = {name: value for name, value in of_tokens.items() if name not in OVER_TOKENS}
        metrics |= {name: float(value) for name, value in of_tokens.items()}
        if self._with_kinds:
            kinds = [reading.kinds for reading in samples.scored.readings]
            experience = experience._replace(kinds=pad_tokens(kinds, rollout.shape[1], 0, np.int8))
        if old is not None:
            experience = experience._replace(rollout_log_probs=rollout)
        clock.lap("adv")
        return rows, experience, metrics

    def rows(self, samples: Samples) -> tuple[AnyRows, Targets]:
        """The rows; responses that the update must not learn from have an empty mask."""
        scored = samples.scored
        responses = [t.response_ids for t in scored.trajectories]
        nothing = [np.full(len(r), -1, np.int32) for r in responses]
        labels = [reading.labels for reading in scored.readings]
        truth = [none if x is None else x.prefix_truth for x, none in zip(labels, nothing, strict=True)]
        keep = scored.valid & samples.learned
        if self._algorithm.overlong == "mask":
            keep &= np.array([t.finish_reason != "length" for t in scored.trajectories])
        numbers = [number_targets(t) for t in truth]
        return self._layout.rows([p.ids for p in scored.prompts], responses, numbers=numbers, keep=keep)

    def _pass(self, params: Params, rows: AnyRows, targets: Targets) -> Float[Array, "B T"]:
        return self._log_probs(self._graph, params, rows, (targets.ids,), self._rollout.temperature)

    def _rewards(self, samples: Samples) -> tuple[Rewards, dict[str, float]]:
        """Rewards of all samples; masked rows are included in the baseline of their group."""
        scored, metrics = samples.scored, {}
        penalties = overlong_penalties(self._algorithm, scored.trajectories, self._rollout.max_tokens)
        if self._algorithm.overlong == "penalty":
            metrics["reward/overlong_penalty"] = float(penalties.mean())
        lengths = np.array([len(t.response_ids) for t in scored.trajectories], np.int32)
        _, groups = np.unique([t.draw for t in scored.trajectories], return_inverse=True)
        scores = scored.scores + penalties
        several = scored.of_keys(self._algorithm.reward_keys) if self._algorithm.advantage == "gdpo" else None
        groups = groups.astype(np.int32)
        return Rewards(scores, groups, lengths, scored.valid, samples.greedy_scores, several), metrics


@functools.partial(jax.jit, static_argnums=0)
def build(algorithm: AlgorithmSection, evidence: Evidence) -> tuple[Experience, dict[str, Float[Array, ""]]]:
    """Corrects for sampler-trainer mismatch, subtracts the divergence from the rewards, and credits tokens.

    Args:
        algorithm: the settings.
        evidence: evidence on all samples of an iteration.

    Returns:
        The experience, and metrics over the tokens that count.

    Example: one prompt with two samples of one token each; the first sample is right
        >>> targets = Targets(np.array([[5], [6]]), np.ones((2, 1), bool), np.full((2, 1), np.nan, np.float32))
        >>> rewards = Rewards(np.array([1.0, 0.0]), np.zeros(2, int), np.array([1, 1]), np.ones(2, bool))
        >>> evidence = Evidence(targets, np.full((2, 1), -0.7), None, None, None, rewards, 0.0)
        >>> build(AlgorithmSection(normalize_groups=False), evidence)[0].advantages.tolist()
        [[0.5], [-0.5]]
    """
    targets, rollout, old, reference, old_values, rewards, kl_weight = jax.tree.map(jnp.asarray, evidence)
    is_response = jnp.arange(targets.mask.shape[1])[None, :] < rewards.lengths[:, None]
    metrics, weights, mask = {}, None, targets.mask
    if old is None:
        old = rollout
    else:
        weights, mask, metrics = off_policy_correction(algorithm.correction, old, rollout, mask)
    per_token = token_rewards(rewards, mask.shape[1])
    if reference is not None:
        kind = algorithm.kl.estimator
        metrics["actor/kl_weight"] = kl_weight
        metrics["actor/kl"] = masked_mean(KL_STATISTICS[kind](old, reference), mask)
        if algorithm.kl.place == "reward":
            divergence = jnp.where(is_response, kl_weight * KL_ESTIMATORS[kind](old, reference), 0.0)
            per_token, reference = per_token - divergence, None
    advantages, values = credit(algorithm, rewards, per_token, mask, old_values)
    metrics["critic/advantages/mean"] = masked_mean(advantages, mask)
    metrics["critic/advantages/max"] = jnp.max(advantages, where=mask, initial=-jnp.inf)
    metrics["critic/advantages/min"] = jnp.min(advantages, where=mask, initial=jnp.inf)
    targets = targets._replace(mask=mask)
    return Experience(targets, old, advantages, weights, reference, values), metrics

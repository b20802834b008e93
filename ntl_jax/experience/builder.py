# SPDX-License-Identifier: Apache-2.0
"""From scored samples to the batch that an iteration's updates learn from: all that comes before the first update.

The log-probs of the old and of the reference policy, and the critic's values, are taken here and nowhere else. An
update cannot come in between, so none can make the importance ratio 1.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from ntl_jax.config import RunConfig
from ntl_jax.experience.collector import Samples
from ntl_jax.experience.credit import Rewards, overlong_penalties, with_advantages
from ntl_jax.experience.off_policy import correct
from ntl_jax.losses.kl import KL_ESTIMATORS, KL_STATISTICS
from ntl_jax.metrics import Clock
from ntl_jax.numerals import number_targets
from ntl_jax.ops import masked_mean
from ntl_jax.records import TrainBatch
from ntl_jax.rows.padding import RowShape, pad_rows, pad_tokens
from ntl_jax.rows.passes import RowPass, predicted_values, sampled_log_probs


class Experience:
    """Builds the batch of an iteration.

    Args:
        config: its ``algorithm`` and ``rollout`` sections.
        shape: bounds of rows and responses.
        graph: of the policy.
        reference: parameters of the reference policy; None without one.
        critic: graph of the critic; None without one.
        mesh: of the parameters.
    """

    def __init__(
        self,
        config: RunConfig,
        shape: RowShape,
        *,
        graph: nnx.GraphDef,
        reference: Any | None,
        critic: nnx.GraphDef | None,
        mesh: Mesh,
    ):
        self._config, self._shape, self._graph = config, shape, graph
        self._reference, self._critic = reference, critic
        max_tokens = config.trainer.max_tokens_per_micro_batch
        self._log_probs = RowPass(sampled_log_probs, mesh, max_tokens)
        self._values = RowPass(predicted_values, mesh, max_tokens)

    def __call__(
        self, policy: Any, critic: Any | None, samples: Samples, kl_weight: float, clock: Clock
    ) -> tuple[TrainBatch, dict[str, float]]:
        """The batch, unpacked and unweighed, and the metrics of what was done.

        Args:
            policy, critic: parameters before the first update of the iteration; no critic: None.
            samples: of the iteration.
            kl_weight: as the controller has it.
            clock: laps for each pass that is made.
        """
        algorithm = self._config.algorithm
        batch, metrics = self.rows(samples), {}
        if algorithm.old_log_probs == "recompute":
            rollout, old = batch.old_log_probs, self._pass(policy, batch)
            corrected = jax.device_get(correct(algorithm.correction, old, rollout, batch.mask))
            batch = batch._replace(old_log_probs=old, mask=corrected.mask, correction_weights=corrected.weights)
            metrics |= {name: float(value) for name, value in corrected.metrics.items()}
            clock.lap("old_log_prob")
        if self._reference is not None:
            batch = batch._replace(reference_log_probs=self._pass(self._reference, batch))
            clock.lap("ref")
        if self._critic is not None:
            batch = batch._replace(old_values=self._values(self._critic, critic, batch))
            clock.lap("values")
        rewards, of_rewards = self._rewards(batch, samples, kl_weight)
        batch = with_advantages(algorithm, batch, rewards)
        metrics |= of_rewards | _advantage_metrics(batch)
        clock.lap("adv")
        if algorithm.kl.place == "reward":
            batch = batch._replace(reference_log_probs=None)
        return batch, metrics

    def rows(self, samples: Samples) -> TrainBatch:
        """Padded rows with the log-probs that were captured while sampling."""
        scored, algorithm = samples.scored, self._config.algorithm
        responses = [t.response_ids for t in scored.trajectories]
        nothing = [np.full(len(r), -1, np.int32) for r in responses]
        truth = nothing if scored.labels is None else [label.prefix_truth for label in scored.labels]
        keep = scored.valid & samples.learned
        if algorithm.overlong == "mask":
            keep &= np.array([t.finish_reason != "length" for t in scored.trajectories])
        batch = pad_rows(
            [p.ids for p in scored.prompts],
            responses,
            self._shape,
            number_targets=[number_targets(t) for t in truth],
            keep=keep,
        )
        log_probs = [t.rollout_log_probs for t in scored.trajectories]
        return batch._replace(old_log_probs=pad_tokens(log_probs, batch.mask.shape[1], 0.0, np.float32))

    def _pass(self, params: Any, batch: TrainBatch) -> np.ndarray:
        return self._log_probs(self._graph, params, batch, self._config.rollout.temperature)

    def _rewards(self, batch: TrainBatch, samples: Samples, kl_weight: float) -> tuple[Rewards, dict[str, float]]:
        """Rewards of all samples; masked rows are included in the baseline of their group."""
        scored, algorithm = samples.scored, self._config.algorithm
        lengths = np.array([len(t.response_ids) for t in scored.trajectories])
        penalties = overlong_penalties(algorithm, scored.trajectories, self._config.rollout.max_tokens)
        per_token = np.zeros(batch.mask.shape, np.float32)
        per_token[np.arange(len(lengths)), lengths - 1] = scored.scores + penalties
        metrics = {}
        if algorithm.overlong == "penalty":
            metrics["reward/overlong_penalty"] = float(penalties.mean())
        if batch.reference_log_probs is not None:
            pair = jnp.asarray(batch.old_log_probs), jnp.asarray(batch.reference_log_probs)
            metrics["actor/kl_weight"] = kl_weight
            if batch.mask.any():  # without tokens, the controller has no measurement
                metrics["actor/kl"] = float(masked_mean(KL_STATISTICS[algorithm.kl.estimator](*pair), batch.mask))
            if algorithm.kl.place == "reward":
                is_response = np.arange(batch.mask.shape[1]) < lengths[:, None]
                kl = np.asarray(KL_ESTIMATORS[algorithm.kl.estimator](*pair))
                per_token -= np.where(is_response, np.float32(kl_weight) * kl, np.float32(0))
        groups = np.array([t.draw for t in scored.trajectories])
        return Rewards(per_token, groups, lengths, scored.valid, samples.greedy_scores), metrics


def _advantage_metrics(batch: TrainBatch) -> dict[str, float]:
    advantages = np.asarray(batch.advantages)[batch.mask]
    if not len(advantages):
        return {}
    return {
        "critic/advantages/mean": float(advantages.mean()),
        "critic/advantages/max": float(advantages.max()),
        "critic/advantages/min": float(advantages.min()),
    }

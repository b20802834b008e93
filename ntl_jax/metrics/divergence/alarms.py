# SPDX-License-Identifier: Apache-2.0
"""Alarms: what is wrong between sampler and trainer, with the figure, the bound, and what to look at first."""

import math
from typing import NamedTuple

from ntl_jax.metrics.divergence.comparison import PREFIX, Comparison

MEAN_WEIGHT = (0.5, 2.0)
"""The mean of trainer over sampler is 1 for samples of any distribution; an iteration's tokens are enough for this."""
SAMPLE_SIZE = 0.3
"""Below it, a few tokens decide the update."""
ENGINE_KL = 0.1
"""Nats per token; bfloat16 engines stay below 0.01."""


class Alarm(NamedTuple):
    """One alarm.

    Args:
        name: of the fault, as in the metric ``alarm/NAME``.
        figure: what was measured.
        bound: what is allowed.
        look_at: what to look at first.

    Example:
        >>> print(Alarm("engine_kl", "mismatch/engine/kl=0.25", "at most 0.1", "dtypes").line(3))
        alarm engine_kl in iteration 3: mismatch/engine/kl=0.25, allowed is at most 0.1: look at dtypes
    """

    name: str
    figure: str
    bound: str
    look_at: str

    def line(self, iteration: int) -> str:
        """The alarm as one line."""
        measured = f"{self.figure}, allowed is {self.bound}"
        return f"alarm {self.name} in iteration {iteration}: {measured}: look at {self.look_at}"


def alarms_of(total: Comparison, engine: Comparison | None) -> list[Alarm]:
    """Alarms of an iteration's aggregates.

    Args:
        total: of an iteration's tokens.
        engine: of tokens that were sampled from the weights that the trainer compares with; None: not measured.

    Example: see `Alarm`.
    """
    if total.metrics[f"{PREFIX}_valid"] and math.isnan(total.mean):
        return [
            Alarm("not_finite", "a log-prob is not finite", "finite log-probs", "the first token of divergence.jsonl")
        ]
    alarms = []
    low, high = MEAN_WEIGHT
    mean, size = (total.metrics[f"rollout_corr/rollout_is_{name}"] for name in ("mean", "eff_sample_size"))
    if mean < low or mean > high:
        figure, bound = f"mean importance weight {mean:.3g}", f"from {low:g} to {high:g}"
        alarms.append(Alarm("importance_mean", figure, bound, "rollout.max_staleness and the engine's dtype"))
    if size < SAMPLE_SIZE:
        figure, bound = f"effective sample size {size:.3g} of the unbounded weights", f"at least {SAMPLE_SIZE:g}"
        where = "rollout.max_staleness, the learning rate and algorithm.correction"
        alarms.append(Alarm("effective_sample_size", figure, bound, where))
    if engine is not None and abs(engine.kl) > ENGINE_KL:
        figure, bound = f"mismatch/engine/kl={engine.kl:.3g}", f"at most {ENGINE_KL:g} on either side"
        alarms.append(Alarm("engine_kl", figure, bound, "the engine's dtype, quantization and sampling settings"))
    return alarms


def lost_update(version: int, expected: int) -> Alarm:
    """Samples that say themselves that older weights drew them than may have; iterations count from 1."""
    figure = f"samples of the weights before iteration {version}"
    bound = f"those before iteration {expected} or newer"
    return Alarm("lost_update", figure, bound, "how weights reach the engine: an update has not arrived")


def unexplained(mean_log_ratio: float, agreement: float) -> Alarm:
    """Sampler and trainer of equal weights disagree, and no known fault explains it."""
    figure = f"log-probs of equal weights differ by {mean_log_ratio:.3g} nats in the mean"
    where = "the engine's dtype and quantization, and whether it runs the same model"
    return Alarm("unexplained", figure, f"at most {agreement:g}", where)

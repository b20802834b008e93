# SPDX-License-Identifier: Apache-2.0
"""Compares sampler and trainer in every iteration of policy optimization, logs tokens, and raises alarms.

What is compared: with ``old_log_probs=recompute``, and every ``divergence.every`` iterations, all samples; else the
samples of the first minibatch, whose update computes their log-probs before anything moves.
"""

import collections
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from ntl_jax.config import RunConfig
from ntl_jax.ending import warn
from ntl_jax.experience.collector import Samples
from ntl_jax.metrics.divergence.alarms import Alarm, alarms_of, lost_update, new_alarms, unexplained
from ntl_jax.metrics.divergence.comparison import PREFIX, Comparison, LogProbs, compare, comparing
from ntl_jax.metrics.divergence.lines import Alternatives, divergence_lines
from ntl_jax.metrics.divergence.log import LOGGER, DivergenceLog, describe
from ntl_jax.models import num_row_shards
from ntl_jax.records import AnyArray, Batch, Experience, Params, TokenOutputs, Trajectory
from ntl_jax.rows.packing import pack
from ntl_jax.rows.padding import pad_tokens
from ntl_jax.rows.passes import response_segments
from ntl_jax.train.mismatch.logged import logged_response
from ntl_jax.train.mismatch.suspects import Suspects
from ntl_jax.train.mismatch.trainer_pass import TrainerPass, responses_of

KEPT_BYTES = 2**28
"""Weights up to this size are copied in every iteration, so that those before the update, and the version before, can
be asked what they think of a token."""
AGREEMENT = {"float32": 1e-3, "bfloat16": 5e-2}
"""Mean difference of log-probs, in nats, above which sampler and trainer of equal weights disagree, by the coarser
dtype: float32 engines stay below 1e-5, bfloat16 ones below 3e-2."""


class _Iteration(NamedTuple):
    """What is known before the first update of an iteration."""

    number: int
    samples: Samples
    experience: Experience
    params: Params | None


class _Compared(NamedTuple):
    """A comparison that the device may still compute, and the sample and position of each place in its rows."""

    result: Callable[[], Comparison]
    sample_of: Callable[[int, int], tuple[int, int]]


class Observatory:
    """Watches policy optimization, iteration by iteration: `begin`, `first_update`, `end`.

    Args:
        config: its ``divergence``, ``rollout`` and ``model`` sections.
        trainer: the trainer's forward passes.
        log: the file of tokens; None: they are logged by Python's logging alone.
    """

    def __init__(self, config: RunConfig, trainer: TrainerPass, log: DivergenceLog | None):
        self._config, self._trainer, self._log = config, trainer, log
        self._suspects = Suspects(trainer)
        self._agreement = AGREEMENT[_engine_dtype(config)]
        model = trainer.policy.model
        size = np.dtype(model.param_dtype).itemsize if model.param_dtype == "float32" else 2
        self._keeps = model.num_params * size <= KEPT_BYTES
        self._kept: collections.deque[Params] = collections.deque(maxlen=2)
        self._now: _Iteration | None = None
        self._compared: _Compared | None = None
        self._engine: Comparison | None = None
        self._on: set[str] = set()
        self._asks_from = 0
        rollout = config.rollout
        self._truncates = rollout.top_p < 1 or rollout.top_k > 0 or rollout.min_p > 0  # off-policy by intention

    def begin(self, iteration: int, params: Params, samples: Samples, experience: Experience) -> None:
        """Before the first update: keeps the weights, and compares all samples where it is due.

        Args:
            iteration: counts from 0.
            params: the trainer's weights.
            samples: of the iteration.
            experience: of the samples, unpacked and on the host.
        """
        if self._keeps:
            self._kept.append(jax.tree.map(lambda x: x.copy(), params))
        self._now = _Iteration(iteration, samples, experience, self._kept[-1] if self._keeps else None)
        self._compared = self._engine = None
        trajectories = samples.scored.trajectories
        if experience.rollout_log_probs is not None:
            self._compare_all(experience.old_log_probs, experience.rollout_log_probs)
        elif iteration % self._config.divergence.every == 0:
            self._compare_all(self._scores(params, trajectories, experience.mask.shape[1]), experience.old_log_probs)
        if samples.probe:
            self._engine = self._of_probe(params, samples.probe)

    def first_update(
        self,
        rows: Int[np.ndarray, "B"],
        batch: Batch[Experience],
        unpacked: Batch[Experience],
        tokens: TokenOutputs | None,
    ) -> None:
        """After the first update, if all samples were not compared before it.

        Args:
            rows: the iteration's sample of each response of the minibatch.
            batch: the minibatch as the update had it.
            unpacked: one response per row.
            tokens: the update's outputs, under the weights before it; None: it did not move the policy.
        """
        if self._compared is not None or tokens is None:
            return
        experience, segments = batch.tokens, response_segments(batch.rows)
        sides = (experience.old_log_probs, tokens.log_probs, experience.mask)
        result = comparing(LogProbs(*sides, segments, experience.kinds), top_k=self._config.divergence.top_k)
        num_shards = num_row_shards(self._trainer.policy.mesh)

        def sample_of(row: int, position: int) -> tuple[int, int]:
            places = None if segments is None else _origins(unpacked, num_shards)
            row, position = (
                (row, position) if places is None else divmod(int(places[row, position]), unpacked.tokens.mask.shape[1])
            )
            return int(rows[row]), position

        self._compared = _Compared(result, sample_of)

    def end(self) -> dict[str, float]:
        """Logs tokens and alarms; the metrics of the iteration."""
        assert self._now is not None
        if self._compared is None:
            return {}
        result, now = self._compared.result(), self._now
        if self._is_new(now) and self._engine is None:
            self._engine = result
        metrics = result.metrics | self._by_cause(result)
        if result.metrics[f"{PREFIX}_max"] >= self._config.divergence.threshold:
            self._write(result, self._compared.sample_of)
        alarms = self._alarms(result)
        for alarm in new_alarms(alarms, self._on):
            LOGGER.warning("%s", alarm.line(now.number + 1))
            warn(alarm.line(now.number + 1))
        self._on = {alarm.name for alarm in alarms}
        self._now = None
        return metrics | {f"alarm/{name}": 1.0 for name in self._on}

    def _is_new(self, now: _Iteration) -> bool:
        return all(t.version.iteration == now.number for t in now.samples.scored.trajectories if t.versions)

    def _by_cause(self, result: Comparison) -> dict[str, float]:
        if self._engine is None:
            return {}
        names = ("kl", "mean", "max")
        metrics = {f"mismatch/engine/{name}": getattr(self._engine, name) for name in names}
        if self._engine is not result:
            metrics |= {
                f"mismatch/staleness/{name}": getattr(result, name) - getattr(self._engine, name) for name in names
            }
        return metrics

    def _alarms(self, result: Comparison) -> list[Alarm]:
        """What is wrong; where a fault is found, bounds that are passed are its symptoms, and not said."""
        now = self._now
        assert now is not None
        engine = None if self._truncates else self._engine
        versions = [t.version.iteration for t in now.samples.scored.trajectories if t.versions]
        expected = max(0, now.number - self._config.rollout.max_staleness)
        if min(versions, default=expected) < expected:
            return [lost_update(min(versions), expected)]
        if engine is None or not engine.mean_log_ratio > self._agreement:
            return alarms_of(result, engine)
        fault = self._fault(now)
        return (
            [*alarms_of(result, engine), unexplained(engine.mean_log_ratio, self._agreement)]
            if fault is None
            else [fault]
        )

    def _fault(self, now: _Iteration) -> Alarm | None:
        """What explains that sampler and trainer of equal weights disagree; asked again only after a while in vain."""
        if now.params is None or now.number < self._asks_from:
            return None
        trajectories = now.samples.probe or now.samples.scored.trajectories
        previous = self._kept[0] if len(self._kept) == 2 else None
        fault = self._suspects([t for t in trajectories if len(t.response_ids)], now.params, previous)
        if fault is None:
            self._asks_from = now.number + self._config.divergence.every
        return fault

    def _compare_all(self, actor: AnyArray, rollout: AnyArray) -> None:
        assert self._now is not None
        scored, kinds = self._now.samples.scored, self._now.experience.kinds
        lengths = np.array([len(t.response_ids) for t in scored.trajectories])
        mask = np.arange(rollout.shape[1])[None] < lengths[:, None]
        result = comparing(LogProbs(rollout, actor, mask, None, kinds), top_k=self._config.divergence.top_k)
        self._compared = _Compared(result, lambda row, position: (row, position))

    def _of_probe(self, params: Params, probe: Sequence[Trajectory]) -> Comparison:
        lengths, size = np.array([len(t.response_ids) for t in probe]), self._config.rollout.max_tokens
        rollout = pad_tokens([t.rollout_log_probs for t in probe], size, 0.0, np.float32)
        mask = np.arange(size)[None] < lengths[:, None]
        return compare(LogProbs(rollout, self._scores(params, probe, size), mask), top_k=1)

    def _scores(self, params: Params, trajectories: Sequence[Trajectory], size: int) -> Float[np.ndarray, "B T"]:
        """The trainer's log-probs, padded to this size."""
        scores = self._trainer.scores(params, responses_of(trajectories)).log_probs
        rows = [row[: len(t.response_ids)] for row, t in zip(scores, trajectories, strict=True)]
        return pad_tokens(rows, size, 0.0, np.float32)

    def _write(self, result: Comparison, sample_of: Callable[[int, int], tuple[int, int]]) -> None:
        now, top = self._now, result.top
        assert now is not None
        scored = now.samples.scored
        pairs = [sample_of(*pair) for pair in zip(top.rows.tolist(), top.positions.tolist(), strict=True)]
        rows, positions = (np.array(x) for x in zip(*pairs, strict=True))
        lines = divergence_lines(
            top._replace(rows=rows, positions=positions),
            lambda row: logged_response(scored, now.experience, row),
            tokenizer=self._trainer.policy.tokenizer,
            alternatives=self._alternatives,
            iteration=now.number + 1,
            context=self._config.divergence.context,
        )
        LOGGER.warning("%s", describe(lines))
        if self._log is not None:
            self._log.write(lines, now.number + 1)

    def _alternatives(self, pairs: Int[np.ndarray, "k 2"]) -> Alternatives | None:
        now = self._now
        assert now is not None
        if now.params is None:
            return None
        chosen = [now.samples.scored.trajectories[row] for row in pairs[:, 0].tolist()]
        return self._trainer.alternatives(now.params, responses_of(chosen), pairs[:, 1])


def _origins(unpacked: Batch[Experience], num_shards: int) -> Int[np.ndarray, "rows T"]:
    """For each place of a packed batch, row * T + position of the token in the unpacked one."""
    targets = unpacked.tokens.targets
    numbers = np.arange(targets.mask.size, dtype=np.int32).reshape(targets.mask.shape)
    packed = pack(Batch(unpacked.rows, targets._replace(ids=numbers), unpacked.weights), num_shards)
    return np.asarray(packed.tokens.ids)


def _engine_dtype(config: RunConfig) -> str:
    """The coarser dtype of engine and trainer."""
    dtypes = {config.model.compute_dtype, config.model.param_dtype}
    vllm = config.rollout.engine == "vllm" or (config.rollout.engine, config.rollout.pool.engine) == ("pool", "vllm")
    if vllm:
        dtypes |= {config.rollout.vllm.dtype or config.model.compute_dtype}
        dtypes |= {"bfloat16"} if config.rollout.vllm.quantization else set()
    return "bfloat16" if "bfloat16" in dtypes else "float32"

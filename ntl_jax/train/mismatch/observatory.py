# SPDX-License-Identifier: Apache-2.0
"""Compares sampler and trainer in every iteration of policy optimization, logs tokens, and raises alarms.

What is compared: with ``old_log_probs=recompute``, and every ``divergence.every`` iterations, all samples; else the
samples of the first minibatch, whose update computes their log-probs before anything moves.
"""

import collections
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from ntl_jax.config import RunConfig
from ntl_jax.ending import warn
from ntl_jax.experience.collector import Samples
from ntl_jax.metrics.divergence.alarms import Alarm, alarms_of, lost_update, unexplained
from ntl_jax.metrics.divergence.comparison import Comparison, LogProbs, TopTokens, compare, comparing
from ntl_jax.metrics.divergence.lines import Alternatives, divergence_lines
from ntl_jax.metrics.divergence.log import LOGGER, DivergenceLog, describe
from ntl_jax.models import num_row_shards
from ntl_jax.processes.arrays import fetch
from ntl_jax.records import AnyArray, Batch, Experience, Params, TokenOutputs, Trajectory
from ntl_jax.rows.packing import pack
from ntl_jax.rows.padding import pad_tokens
from ntl_jax.rows.passes import response_segments
from ntl_jax.train.journal.step_samples import ActorReadings
from ntl_jax.train.mismatch.logged import logged_response
from ntl_jax.train.mismatch.suspects import Suspects
from ntl_jax.train.mismatch.trainer_pass import TrainerPass, responses_of

KEPT_BYTES = 2**28
"""Weights up to this size are copied in every iteration, and two copies are kept: after the first update, those before
it say what was likely instead of a token; those of the version before are a suspect. Of larger ones, only what is
compared before an update is examined."""
AGREEMENT = {"float32": 1e-3, "bfloat16": 5e-2}
"""Mean difference of log-probs, in nats, above which sampler and trainer of equal weights disagree, by the coarser
dtype: float32 engines stay below 1e-5, bfloat16 ones below 3e-2."""

SampleOf = Callable[[int, int], tuple[int, int]]
"""(row and position in what was compared) -> the iteration's sample, and the position in its response."""


class _Iteration(NamedTuple):
    """What is known before the first update of an iteration; it counts from 0."""

    number: int
    samples: Samples
    experience: Experience


class _Update(NamedTuple):
    """The first update of an iteration: its outputs, which of its tokens count, the sample of each response, and what
    gives for each token row * T + position in the unpacked responses."""

    tokens: TokenOutputs
    mask: Bool[AnyArray, "rows T"]
    samples: Int[np.ndarray, "B"]
    places: Callable[[], Int[np.ndarray, "rows T"]]


class Observatory:
    """Watches policy optimization, iteration by iteration: `begin`, `first_update`, `end`.

    Args:
        config: its ``divergence``, ``rollout`` and ``model`` sections.
        trainer: the trainer's forward passes.
        log: the file of tokens; None: they are logged by Python's logging alone.
    """

    def __init__(self, config: RunConfig, trainer: TrainerPass, log: DivergenceLog | None):
        self._config, self._section, self._trainer, self._log = config, config.divergence, trainer, log
        self._suspects, self._agreement = Suspects(trainer), AGREEMENT[_engine_dtype(config)]
        rollout, model = config.rollout, trainer.policy.model
        self._truncates = rollout.top_p < 1 or rollout.top_k > 0 or rollout.min_p > 0  # off-policy by intention
        self._keeps = model.num_params * jnp.dtype(model.param_dtype).itemsize <= KEPT_BYTES
        self._kept: collections.deque[Params] = collections.deque(maxlen=2)
        self._on: set[str] = set()
        self._asks_from = 0
        self._now: _Iteration | None = None
        self._engine: Comparison | None = None
        self._waiting: tuple[Callable[[], Comparison], SampleOf] | None = None
        self._metrics: dict[str, float] | None = None
        self._update: _Update | None = None
        self._readings = ActorReadings(*(np.zeros((0, 0)) for _ in ActorReadings._fields))

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
        self._now = _Iteration(iteration, samples, experience)
        self._engine = self._of_probe(params, samples.probe) if samples.probe else None
        self._waiting = self._metrics = self._update = None
        self._readings = ActorReadings(*(np.full(experience.mask.shape, np.nan) for _ in ActorReadings._fields))
        if experience.rollout_log_probs is not None:
            self._compare_all(params, experience.old_log_probs, experience.rollout_log_probs)
        elif iteration % self._section.every == 0:
            actor = self._scores(params, samples.scored.trajectories, experience.mask.shape[1])
            self._compare_all(params, actor, experience.old_log_probs)

    def first_update(
        self,
        rows: Int[np.ndarray, "B"],
        batch: Batch[Experience],
        unpacked: Batch[Experience],
        tokens: TokenOutputs | None,
    ) -> None:
        """After the first update, whose outputs are compared if all samples were not compared before it.

        Args:
            rows: the iteration's sample of each response of the minibatch.
            batch: the minibatch as the update had it.
            unpacked: one response per row.
            tokens: the update's outputs, under the weights before it; None: it did not move the policy.
        """
        if tokens is None:
            return
        experience, segments = batch.tokens, response_segments(batch.rows)
        num_rows, size = unpacked.tokens.mask.shape

        @functools.cache
        def places() -> Int[np.ndarray, "rows T"]:
            if segments is None:
                return np.arange(num_rows * size).reshape(num_rows, size)
            return _origins(unpacked, num_row_shards(self._trainer.policy.mesh))

        self._update = _Update(tokens, experience.mask, rows, places)
        if self._metrics is not None:
            return
        sides = (experience.old_log_probs, tokens.log_probs, experience.mask, segments, experience.kinds)

        def sample_of(row: int, position: int) -> tuple[int, int]:
            row, position = divmod(int(places()[row, position]), size)
            return int(rows[row]), position

        result = comparing(LogProbs(*sides, tokens.entropy), top_k=self._section.top_k)
        self._waiting = result, sample_of

    def end(self) -> dict[str, float]:
        """Logs tokens and alarms, where that is not done yet; the metrics of the iteration."""
        if self._metrics is None and self._waiting is not None:
            result, sample_of = self._waiting
            self._conclude(result(), sample_of, self._kept[-1] if self._keeps else None)
        metrics = self._say(self._lost()) if self._metrics is None else self._metrics
        self._now = self._waiting = None
        return metrics

    def readings(self) -> ActorReadings:
        """What the trainer computed about the samples of the newest iteration; complete after its updates."""
        if self._update is not None:
            _read(self._update, self._readings)
            self._update = None
        return self._readings

    def _compare_all(self, params: Params, actor: AnyArray, rollout: AnyArray) -> None:
        assert self._now is not None
        scored, kinds = self._now.samples.scored, self._now.experience.kinds
        lengths = np.array([len(t.response_ids) for t in scored.trajectories])
        mask = np.arange(rollout.shape[1])[None] < lengths[:, None]
        self._readings.log_probs[mask] = np.asarray(actor)[mask]
        result = compare(LogProbs(rollout, actor, mask, None, kinds), top_k=self._section.top_k)
        self._conclude(result, lambda row, position: (row, position), params)

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

    def _conclude(self, result: Comparison, sample_of: SampleOf, params: Params | None) -> None:
        """Logs tokens and alarms, and computes the metrics.

        Args:
            result: of the comparison.
            sample_of: where the compared tokens come from.
            params: the weights that were compared; None: they are gone.
        """
        now = self._now
        assert now is not None
        if self._engine is None and all(version == now.number for version in self._versions()):
            self._engine = result
        self._metrics = result.metrics | self._by_cause(result)
        if result.reaches(self._section.threshold):
            self._write(now, result.top, sample_of, params)
        self._metrics |= self._say(self._lost() or self._alarms(now, result, params))

    def _by_cause(self, result: Comparison) -> dict[str, float]:
        engine = self._engine
        if engine is None:
            return {}
        metrics = {f"mismatch/engine/{name}": getattr(engine, name) for name in ("kl", "mean", "max")}
        if engine is not result:
            metrics |= {f"mismatch/staleness/{x}": getattr(result, x) - getattr(engine, x) for x in ("kl", "mean")}
        return metrics

    def _versions(self) -> list[int]:
        """The iterations before which the weights of the samples were new."""
        assert self._now is not None
        return [t.version.iteration for t in self._now.samples.scored.trajectories if t.versions]

    def _lost(self) -> list[Alarm]:
        assert self._now is not None
        expected = max(0, self._now.number - self._config.rollout.max_staleness)
        oldest = min(self._versions(), default=expected)
        return [lost_update(oldest + 1, expected + 1)] if oldest < expected else []

    def _alarms(self, now: _Iteration, result: Comparison, params: Params | None) -> list[Alarm]:
        """What is wrong; where a fault is found, bounds that are passed are its symptoms, and are not reported."""
        engine = None if self._truncates else self._engine
        passed = [a for a in alarms_of(result, engine) if not (self._truncates and a.name == "importance_mean")]
        if engine is None or not engine.mean_log_ratio > self._agreement:
            return passed
        fault = self._fault(now, params)
        return [*passed, unexplained(engine.mean_log_ratio, self._agreement)] if fault is None else [fault]

    def _fault(self, now: _Iteration, params: Params | None) -> Alarm | None:
        """What explains that sampler and trainer of equal weights disagree; asked again only after a while in vain."""
        if params is None or now.number < self._asks_from:
            return None
        trajectories = now.samples.probe or now.samples.scored.trajectories
        previous = self._kept[0] if len(self._kept) == 2 else None
        fault = self._suspects([t for t in trajectories if len(t.response_ids)], params, previous)
        if fault is None and (previous is not None or not self._keeps):
            self._asks_from = now.number + self._section.every
        return fault

    def _say(self, alarms: Sequence[Alarm]) -> dict[str, float]:
        """Tells of alarms that begin; the metrics of all."""
        assert self._now is not None
        for line in (alarm.line(self._now.number + 1) for alarm in alarms if alarm.name not in self._on):
            LOGGER.warning("%s", line)
            warn(line)
        self._on = {alarm.name for alarm in alarms}
        return {f"alarm/{name}": 1.0 for name in sorted(self._on)}

    def _write(self, now: _Iteration, top: TopTokens, sample_of: SampleOf, params: Params | None) -> None:
        scored = now.samples.scored
        pairs = [sample_of(*pair) for pair in zip(top.rows.tolist(), top.positions.tolist(), strict=True)]
        rows, positions = (np.array(x) for x in zip(*pairs, strict=True))

        def alternatives(pairs: Int[np.ndarray, "k 2"]) -> Alternatives | None:
            if params is None:
                return None
            chosen = responses_of([scored.trajectories[row] for row in pairs[:, 0].tolist()])
            return self._trainer.alternatives(params, chosen, pairs[:, 1])

        lines = divergence_lines(
            top._replace(rows=rows, positions=positions),
            lambda row: logged_response(scored, now.experience, row),
            tokenizer=self._trainer.policy.tokenizer,
            alternatives=alternatives,
            iteration=now.number + 1,
            context=self._section.context,
        )
        LOGGER.warning("%s", describe(lines))
        if self._log is not None:
            self._log.write(lines, now.number + 1)


def _read(update: _Update, readings: ActorReadings) -> None:
    """Writes the outputs of an update to where its tokens are in the iteration."""
    mask, *sources = fetch((update.mask, update.tokens.log_probs, update.tokens.entropy))
    response, position = np.divmod(update.places()[mask], readings.log_probs.shape[1])
    for target, source in zip(readings, sources, strict=True):
        target[update.samples[response], position] = source[mask]


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

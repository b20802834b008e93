# SPDX-License-Identifier: Apache-2.0
"""Names the fault behind a disagreement of sampler and trainer that have the same weights, or should have.

Each suspect predicts the sampler's log-probs. The fault is the suspect whose prediction removes most of the difference;
a disagreement that none explains has no name. Arithmetic alone, such as bfloat16's, is explained by none.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar

from ntl_jax.metrics.divergence.alarms import Alarm
from ntl_jax.records import Params, Trajectory
from ntl_jax.train.mismatch.trainer_pass import Responses, Scores, TrainerPass, responses_of

MOST_RESPONSES = 16
"""Responses that are examined: their tokens are enough, and a pass over them is cheap."""
EXPLAINED = 0.2
"""Most that a suspect's prediction may leave of the mean difference."""
IMPOSSIBLE, POSSIBLE = -1e4, -20.0
"""A token below the first log-prob is left out of a distribution; one above the second is not."""
ROUNDING = 1e-4
"""Nats within which the log-probs of two float32 programs agree."""
MATCH = 1e-2
"""Nats within which the trainer's log-prob of one token is taken for the sampler's of another."""
MOST_TRIES = 20
"""Of a temperature, where no digits were captured."""
FEW = 4
"""Responses on which pairs of ids are tried: the most divergent ones."""
MOST_TOKENS, MOST_PAIRS = 3, 4
"""Divergent tokens of a response that are looked at, and pairs of ids that they suggest."""
MOST_COMMON = 12
"""Ids whose pairs are tried too: swapped ids that stand in every prompt change every log-prob."""
SURE = 3
"""Votes for a token that the trainer expects with the sampler's log-prob; its most likely token has one vote."""


class Examined(NamedTuple):
    """Responses with what the sampler recorded about them; digits are None where it recorded none."""

    of: Responses
    rollout: Sequence[Float[np.ndarray, "T"]]
    digits: Sequence[Float[np.ndarray, "T 10"]] | None


class Suspects:
    """Finds the fault.

    Args:
        trainer: the trainer's forward passes.
    """

    def __init__(self, trainer: TrainerPass):
        self._trainer = trainer

    def __call__(self, trajectories: Sequence[Trajectory], params: Params, previous: Params | None) -> Alarm | None:
        """The fault, or None if no suspect explains the difference.

        Args:
            trajectories: samples that are labeled with the version of ``params``.
            params: the weights that the trainer compares with.
            previous: the version before; None: unknown.
        """
        seen = _examined(trajectories)
        own = self._trainer.scores(params, seen.of)
        if figure := _truncation(seen, own):
            where = "top_p, top_k and min_p of the engine, which cut its distribution and not the trainer's"
            return Alarm("sampler_truncation", figure, "the whole distribution on both sides", where)
        most = EXPLAINED * _difference(seen, own)
        predictions = self._predictions(seen, own, params, previous)
        fault = next((fault for scores, fault in predictions if _difference(seen, scores) < most), None)
        return fault or self._swapped_ids(seen, own, params)

    def _predictions(
        self, seen: Examined, own: Scores, params: Params, previous: Params | None
    ) -> Iterator[tuple[Scores, Alarm]]:
        score, of = self._trainer.scores, seen.of
        if temperature := self._temperature(seen, own, params):
            figure = f"the sampler's log-probs are those of temperature {temperature:.3g}"
            bound, where = f"{self._trainer.temperature:g} on both sides", "the engine's own sampling settings"
            yield score(params, of, temperature=temperature), Alarm("sampler_temperature", figure, bound, where)
        if previous is not None:
            bound = "the weights of the version that the samples name"
            figure, where = "the log-probs are those of the version before", "how weights reach the engine"
            yield score(previous, of), Alarm("wrong_version", figure, bound, where)
            figure = "the log-probs are those of the newest layers with the vocabulary head of the version before"
            where = "tied embeddings in the engine: its head must be set with the embedding"
            yield score(params, of, head=previous), Alarm("stale_head", figure, bound, where)

    def _swapped_ids(self, seen: Examined, own: Scores, params: Params) -> Alarm | None:
        """Tries many pairs of ids on a few responses, in the responses alone and in the prompts too."""
        apart = [float(np.abs(x - y[: len(x)]).sum()) for x, y in zip(seen.rollout, own.log_probs, strict=True)]
        rows = np.argsort(apart)[-FEW:].tolist()
        of = Responses([seen.of.prompts[row] for row in rows], [seen.of.responses[row] for row in rows])
        few = Examined(of, [seen.rollout[row] for row in rows], None)
        most = EXPLAINED * _difference(few, self._trainer.scores(params, of))
        for pair in self._pairs(seen, own, params):
            responses, prompts = _swapped(few.of.responses, pair), _swapped(few.of.prompts, pair)
            is_asked = any(not np.array_equal(x, y) for x, y in zip(prompts, few.of.prompts, strict=True))
            for asked in (few.of.prompts, prompts)[: 1 + is_asked]:
                if _difference(few, self._trainer.scores(params, Responses(asked, responses))) < most:
                    figure = f"the sampler's token {pair[0]} is the trainer's {pair[1]}, and the reverse"
                    where = "the engine's tokenizer and the order of its vocabulary"
                    return Alarm("swapped_ids", figure, "one id for one token", where)
        return None

    def _temperature(self, seen: Examined, own: Scores, params: Params) -> float | None:
        """The sampler's temperature if that is the fault: by the slope of its digits' log-probs over the trainer's."""
        pair = _of_digits(seen, own)
        if pair is None:
            return self._tried_temperature(seen, params)
        sampler, trainer = (x - x.mean(axis=1, keepdims=True) for x in pair)
        slope = float((sampler * trainer).sum() / (trainer**2).sum())
        return self._trainer.temperature / slope if np.isfinite(slope) and slope > 0 else None

    def _tried_temperature(self, seen: Examined, params: Params) -> float:
        """The temperature that leaves the least difference."""

        def difference(temperature: float) -> float:
            return _difference(seen, self._trainer.scores(params, seen.of, temperature=temperature))

        bounds = self._trainer.temperature / 3, self._trainer.temperature * 3
        found = minimize_scalar(difference, bounds=bounds, method="bounded", options={"maxiter": MOST_TRIES})
        return float(found.x)  # pyright: ignore[reportAttributeAccessIssue]

    def _pairs(self, seen: Examined, own: Scores, params: Params) -> list[tuple[int, int]]:
        """Pairs of ids that may be swapped: divergent tokens with what the trainer expects, digits, common ids."""
        votes: Counter[tuple[int, int]] = Counter()
        for token, log_prob, ids, log_probs in zip(*self._divergent(seen, own, params), strict=True):
            expected = [int(ids[0]), *SURE * ids[np.abs(log_probs - log_prob) < MATCH].tolist()]
            votes.update((min(token, other), max(token, other)) for other in expected if other != token)
        table = self._trainer.policy.table
        digits = sorted(np.asarray(table.ids).tolist()) if table.kind == "digits" else []
        likely = [pair for pair, _ in votes.most_common(MOST_PAIRS)]
        written = Counter(np.concatenate([*seen.of.prompts, *seen.of.responses]).tolist())
        common = sorted(i for i, _ in written.most_common(MOST_COMMON))
        return list(dict.fromkeys([*likely, *itertools.combinations(digits, 2), *itertools.combinations(common, 2)]))

    def _divergent(
        self, seen: Examined, own: Scores, params: Params
    ) -> tuple[list[int], list[float], np.ndarray, np.ndarray]:
        """The tokens of each response that surprise the trainer most: ids, the sampler's log-probs, its own five."""
        rows, positions = [], []
        for row, rollout in enumerate(seen.rollout):
            largest = np.argsort(own.log_probs[row, : len(rollout)] - rollout)[:MOST_TOKENS].tolist()
            positions += largest
            rows += [row] * len(largest)
        of = Responses([seen.of.prompts[row] for row in rows], [seen.of.responses[row] for row in rows])
        tokens = [int(ids[t]) for ids, t in zip(of.responses, positions, strict=True)]
        rollout = [float(seen.rollout[row][t]) for row, t in zip(rows, positions, strict=True)]
        likely = self._trainer.alternatives(params, of, np.array(positions))
        return tokens, rollout, np.asarray(likely.ids), np.asarray(likely.log_probs)


def _examined(trajectories: Sequence[Trajectory]) -> Examined:
    chosen = [trajectories[i] for i in np.linspace(0, len(trajectories) - 1, MOST_RESPONSES).astype(int)]
    digits = [t.digit_log_probs for t in chosen if t.digit_log_probs is not None]
    rollout = [t.rollout_log_probs for t in chosen]
    return Examined(responses_of(chosen), rollout, digits if len(digits) == len(chosen) else None)


def _difference(seen: Examined, scores: Scores) -> float:
    """Mean absolute difference of the sampler's log-probs from predicted ones, nats per token."""
    apart = [np.abs(x - y[: len(x)]) for x, y in zip(seen.rollout, scores.log_probs, strict=True)]
    return float(np.concatenate(apart).mean())


def _of_digits(
    seen: Examined, own: Scores
) -> tuple[Float[np.ndarray, "tokens 10"], Float[np.ndarray, "tokens 10"]] | None:
    """The sampler's and the trainer's log-probs of the digits at all positions."""
    if seen.digits is None or own.digits is None:
        return None
    trainer = [y[: len(x)] for x, y in zip(seen.digits, own.digits, strict=True)]
    return np.concatenate(list(seen.digits)), np.concatenate(trainer)


def _truncation(seen: Examined, own: Scores) -> str | None:
    """How it shows that the sampler's distribution is cut: impossible digits, or no token that it finds less likely."""
    if (pair := _of_digits(seen, own)) is not None:
        cut = int(((pair[0] < IMPOSSIBLE) & (pair[1] > POSSIBLE)).sum())
        return f"{cut} digits are impossible for the sampler and possible for the trainer" if cut else None
    least = min(float((x - y[: len(x)]).min()) for x, y in zip(seen.rollout, own.log_probs, strict=True))
    return "no token is less likely to the sampler than to the trainer" if least > -ROUNDING else None


def _swapped(rows: Sequence[Int[np.ndarray, "T"]], pair: tuple[int, int]) -> list[Int[np.ndarray, "T"]]:
    first, second = pair
    return [np.select([ids == first, ids == second], [second, first], ids) for ids in rows]

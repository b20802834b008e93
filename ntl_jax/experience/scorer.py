# SPDX-License-Identifier: Apache-2.0
"""From trajectories to scores, on the host: texts, true digits, the NTL record, rewards."""

import logging
from collections.abc import Callable, Mapping, Sequence, Set

import numpy as np
from jaxtyping import Int

from ntl_jax.config import NTLSection, RewardSection, parse_schedule
from ntl_jax.experience.digits.ntl_info import blank_labels, build_ntl_info, confidence_ntl_info, number_ntl_info
from ntl_jax.experience.reader import Reader, Reading
from ntl_jax.experience.scored import Scored
from ntl_jax.numerals import DigitLabels
from ntl_jax.processes.exchange import agreed, num_processes, process_id
from ntl_jax.records import NTLInfo, NumberReadings, Prompt, Trajectory, Version, VersionSpan
from ntl_jax.rewards import CALL, EXTRAS, JUDGED, RewardFunction, RewardOutcome, is_built_in
from ntl_jax.tasks import Task

LOGGER = logging.getLogger("ntl")
"""The logger of what NTL does; with ``ntl.debug_mode`` a run writes it to ``ntl_debug.log``."""
PLAIN = "ntl_jax.rewards:exact_match"
LOST = RewardOutcome.failed("the engine gave up the response: the workers that sampled it died")
"""The outcome of a lost response."""


class ExtractionError(ValueError):
    """The NTL record of a sample cannot be built, and ``ntl.fallback_on_error`` is off."""


def reward_temperature(section: NTLSection, iteration: int) -> float:
    """The reward's tau in an iteration, counted from 0: by the schedule, or ``ntl.temperature``.

    Example:
        >>> section = NTLSection(adaptive_temperature=True, temperature_schedule="linear:1.0->0.5@10")
        >>> reward_temperature(section, 5), reward_temperature(NTLSection(), 5)
        (0.75, 1.0)
    """
    schedule = parse_schedule(section.temperature_schedule or "") if section.adaptive_temperature else None
    return section.temperature if schedule is None else schedule.at(iteration)


class Scorer:
    """Scores trajectories with the configured reward function. Needs no policy and no device.

    A lost response has no score, as if the reward function had failed, which is not called for it.

    Args:
        ntl, reward: these sections of the configuration.
        task: names the default reward.
        read: reads responses.
        keys: what a sample's reward must have: a sample without one of them has no reward.
    """

    def __init__(
        self, ntl: NTLSection, reward: RewardSection, task: Task, read: Reader, keys: Sequence[str] = ("score",)
    ):
        self._ntl, self._read, self._task, self._keys = ntl, read, task, keys
        self._passes = ntl.enabled and ntl.pass_to_reward_function
        self._bonus = {
            "use_ntl_bonus": reward.use_ntl_bonus,
            "ntl_bonus_type": reward.ntl_bonus_type,
            "ntl_bonus_weight": reward.ntl_bonus_weight,
        }
        function = reward.function or task.default_reward(ntl=self._passes)
        limits = {"timeout_s": reward.timeout_s, "num_workers": reward.workers}
        self.reward = RewardFunction(function, offered=EXTRAS if self._passes else JUDGED, **limits)
        self._plain = RewardFunction(PLAIN, offered=JUDGED)

    def try_out(self, prompt: Prompt, solution_ids: Int[np.ndarray, "T"]) -> None:
        """Calls a function of the user's own once, with a reference solution whose digits are all equally likely.

        Raises:
            ValueError: if it returns no score.
        """
        if is_built_in(self.reward.spec) and self._keys == ("score",):
            return
        length, of_digits = len(solution_ids), self._read.kind == "digits"
        nothing = np.zeros(length, np.float32)
        solution = Trajectory(
            prompt_index=prompt.index,
            sample_index=0,
            prompt_ids=prompt.ids,
            response_ids=solution_ids,
            rollout_log_probs=nothing,
            digit_log_probs=np.full((length, 10), np.log(0.1), np.float32) if of_digits else None,
            number_readings=None if of_digits else NumberReadings(*[nothing] * len(NumberReadings._fields)),
            finish_reason="stop",
            versions=(VersionSpan(0, length, Version(0)),),
            draw=prompt.draw,
        )
        (outcome,) = self([prompt], [solution], self._ntl.temperature).outcomes
        if outcome.error is not None:
            raise ValueError(
                f"reward.function={self.reward.spec!r}: a trial call with the reference solution of problem "
                f"{prompt.index} returned no score: {outcome.error.strip().splitlines()[-1]}"
            ) from RuntimeError(outcome.error)

    def close(self) -> None:
        """Ends the processes of the reward function and the task."""
        self.reward.close()
        self._task.close()

    def __call__(self, prompts: Sequence[Prompt], trajectories: Sequence[Trajectory], tau: float) -> Scored:
        """Scores samples: `begin`, and waits for the scores."""
        return self.begin(prompts, trajectories, tau)()

    def begin(self, prompts: Sequence[Prompt], trajectories: Sequence[Trajectory], tau: float) -> Callable[[], Scored]:
        """Reads samples and has them scored, while the caller goes on.

        Args:
            prompts: one per trajectory.
            trajectories: the samples, with digit log-probs.
            tau: the reward's temperature.

        Returns:
            A function that waits for the scores.

        Raises:
            ExtractionError: if a record cannot be built and ``ntl.fallback_on_error`` is off.
        """
        own = _own_rows([prompt.draw for prompt in prompts])
        readings = self._readings(prompts, trajectories, own)
        ntl_info, fallbacks = self._record(trajectories, readings) if self._ntl.enabled else (None, {})
        calls = [self._call(*sample, ntl_info, tau) for sample in enumerate(zip(prompts, readings, strict=True))]
        lost = {row for row, t in enumerate(trajectories) if t.finish_reason == "lost"}
        rewards = self._rewards(calls, [prompt.draw for prompt in prompts], own, fallbacks, lost)

        def scored() -> Scored:
            outcomes = rewards()
            errors = [(p.index, o.error) for p, o in zip(prompts, outcomes, strict=True) if o.error is not None]
            return Scored(prompts, trajectories, readings, ntl_info, outcomes, tau, fallbacks, errors)

        return scored

    def _readings(self, prompts: Sequence[Prompt], trajectories: Sequence[Trajectory], own: list[int]) -> list[Reading]:
        """The readings of all samples, of which this process reads its own."""

        def read() -> dict[int, Reading]:
            readings = self._read([prompts[i] for i in own], [trajectories[i] for i in own])
            return dict(zip(own, readings, strict=True))

        found = {i: reading for part in agreed(read) for i, reading in part.items()}
        return [found[i] for i in range(len(prompts))]

    def _record(
        self, trajectories: Sequence[Trajectory], readings: Sequence[Reading]
    ) -> tuple[NTLInfo, dict[int, str]]:
        """The NTL record, and the reason for each row that is blank in the record."""
        labels = [reading.labels for reading in readings if reading.labels is not None]
        reasons = {i: why for i, label in enumerate(labels) if (why := self._why_not(trajectories[i], label))}
        if reasons:
            self._report(reasons, trajectories)
            labels = [blank_labels(len(x.digits)) if i in reasons else x for i, x in enumerate(labels)]
        texts, method = [reading.text for reading in readings], self._ntl.method
        rollout = [t.rollout_log_probs for t in trajectories]
        if not self._knows_digits:
            return confidence_ntl_info(rollout, labels, texts), reasons
        numbers = [t.number_readings for t in trajectories if t.number_readings is not None]
        if numbers:
            assert len(numbers) == len(trajectories), "one pass reads all trajectories"
            return number_ntl_info(numbers, rollout, labels, texts, method=method), reasons
        digits = [_or_zeros(t) for t in trajectories]
        return build_ntl_info(digits, labels, texts, method=method), reasons

    @property
    def _knows_digits(self) -> bool:
        return self._ntl.extract_during_generation or self._ntl.extract_during_log_prob

    def _why_not(self, trajectory: Trajectory, label: DigitLabels) -> str | None:
        """Why a row has no record, though it should have one."""
        if trajectory.finish_reason == "lost":
            return None
        is_digit = label.digits >= 0
        if self._ntl.require_digits and not is_digit.any():
            return "the response holds no digit"
        known = trajectory.rollout_log_probs
        if self._knows_digits:
            numbers = trajectory.number_readings
            known = trajectory.digit_log_probs if numbers is None else np.asarray(numbers.top_probability)
        if known is None:
            return "the engine captured no log-probs of digits"
        if np.isnan(known[is_digit]).any():
            return "the log-probs at its digits are NaN"
        return None

    def _report(self, reasons: dict[int, str], trajectories: Sequence[Trajectory]) -> None:
        row, why = next(iter(reasons.items()))
        first = f"{why} (prompt {trajectories[row].prompt_index}, sample {trajectories[row].sample_index})"
        if not self._ntl.fallback_on_error:
            raise ExtractionError(
                f"{len(reasons)} of {len(trajectories)} samples have no NTL record, the first because {first}; "
                "with ntl.fallback_on_error=true they would be scored by exact match"
            )
        LOGGER.warning("%d of %d samples are scored by exact match: %s", len(reasons), len(trajectories), first)

    def _call(
        self, index: int, sample: tuple[Prompt, Reading], ntl_info: NTLInfo | None, tau: float
    ) -> dict[str, object]:
        prompt, reading = sample
        call: dict[str, object] = {
            "data_source": prompt.data_source,
            "solution_str": reading.text,
            "ground_truth": prompt.ground_truth,
            "extra_info": dict(prompt.extra_info),  # the function may change its own copy
            "answer": reading.answer,
            "correct": reading.exact_match,
        }
        if ntl_info is None or not self._passes:
            return call
        return call | {"ntl_info": ntl_info[index : index + 1], "tau": tau} | self._bonus

    def _rewards(
        self,
        calls: Sequence[Mapping[str, object]],
        groups: Sequence[int],
        own: Sequence[int],
        fallbacks: Mapping[int, str],
        lost: Set[int],
    ) -> Callable[[], list[RewardOutcome]]:
        """The reward function's outcomes; if it uses records, a row without one is scored by exact match."""
        plain = set(fallbacks) if "ntl_info" in self.reward.takes else set()
        asked = [i for i in own if i not in plain | lost]
        waited = self.reward.begin([calls[i] for i in asked], [groups[i] for i in asked])
        others = self._plain([{name: calls[i][name] for name in (*CALL, *JUDGED)} for i in sorted(plain)])

        def outcomes() -> list[RewardOutcome]:
            parts = agreed(lambda: dict(zip(asked, waited(), strict=True)))
            found = {i: outcome for part in parts for i, outcome in part.items()}
            found |= dict(zip(sorted(plain), others, strict=True)) | dict.fromkeys(lost, LOST)
            return [self._with_keys(found[i]) for i in range(len(calls))]

        return outcomes

    def _with_keys(self, outcome: RewardOutcome) -> RewardOutcome:
        """The outcome, if it has what is needed."""
        has = ["score", *outcome.metrics]
        missing = [key for key in self._keys if key not in has]
        if not outcome.valid or not missing:
            return outcome
        return RewardOutcome.failed(
            f"no finite number under {missing[0]!r}, which algorithm.gdpo_reward_keys names; there are {', '.join(has)}"
        )


def _own_rows(draws: Sequence[int]) -> list[int]:
    """The samples that this process scores: with one process all, with several all of some prompts."""
    numbers = {draw: number for number, draw in enumerate(dict.fromkeys(draws))}
    return [row for row, draw in enumerate(draws) if numbers[draw] % num_processes() == process_id()]


def _or_zeros(trajectory: Trajectory) -> np.ndarray:
    """The digits' log-probs; zeros if the engine captured none, for a row that is blank in the record."""
    if trajectory.digit_log_probs is None:
        return np.zeros((len(trajectory.response_ids), 10), np.float32)
    return trajectory.digit_log_probs

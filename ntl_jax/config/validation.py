# SPDX-License-Identifier: Apache-2.0
"""Finds errors in a configuration: wrong types and ranges, contradictory settings, settings without effect.

The fields of the sections declare ranges, and what a setting needs to have an effect (``setting.py``). A check is
skipped only if one of its settings already has a wrong type or range.
"""

import contextlib
import difflib
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import get_args, get_origin

from ntl_jax.config.sections.data import is_own
from ntl_jax.config.sections.engines import TEMPERATURES
from ntl_jax.config.serialization import Leaf, Section, flatten, leaves
from ntl_jax.config.setting import Need

EMPTY = "is empty: give a value, or leave it out"
"""What is wrong with an empty text, in words that follow its name."""
_GROUPED = ("group", "gdpo", "leave_one_out", "optimal_baseline", "reinforce_plus_plus_baseline")
_Check = tuple[str, Callable[..., object], tuple[str, ...]]

# Each entry: what is wrong with the first setting ({1} and {2} are the other values), a test of all, the settings.
_COMBINATIONS: tuple[_Check, ...] = (
    ("must be a multiple of model.num_kv_heads={1}", lambda heads, kv_heads: heads % kv_heads == 0,
     ("model.num_heads", "model.num_kv_heads")),
    ("with warm_start.steps=0 the run would have no steps: set one of them to at least 1",
     lambda iterations, updates: iterations or updates, ("trainer.steps", "warm_start.steps")),
    ("must be below trainer.steps={1}, or the policy gets no update",
     lambda warmup, iterations, advantage: advantage != "gae" or not iterations or warmup < iterations,
     ("algorithm.critic_warmup", "trainer.steps", "algorithm.advantage")),
    ("data.train names a source, so the held-out one must be named too; launch/data.py prepare --hold-out splits one",
     lambda held_out, train: not train or held_out, ("data.eval", "data.train")),
    ("needs data.eval, a source: the generator's problems have no end",
     lambda count, held_out, task: count is not None or held_out or is_own(task),
     ("trainer.eval_problems", "data.eval", "data.task")),
    ("must have one number for each source of data.train={1}",
     lambda weights, train: len(weights) in (0, len(train)), ("data.weights", "data.train")),
    ("exceeds the data.num_train={1} problems that the generator makes: lower it, or raise data.num_train",
     lambda asked, made, train, iterations, task: train or is_own(task) or not iterations or asked <= made,
     ("rollout.prompts_per_step", "data.num_train", "data.train", "trainer.steps", "data.task")),
    ("the baseline of algorithm.advantage={1} needs at least 2 (or algorithm.advantage='gae')",
     lambda samples, advantage: advantage not in _GROUPED or samples >= 2,
     ("rollout.num_samples", "algorithm.advantage")),
    ("must have one number for each key of algorithm.gdpo_reward_keys={1}",
     lambda weights, keys: len(weights) in (0, len(keys)),
     ("algorithm.gdpo_reward_weights", "algorithm.gdpo_reward_keys")),
    ("is subtracted from the score, which algorithm.advantage='gdpo' does not read: set algorithm.kl.place='loss'",
     lambda place, weight, advantage: place == "loss" or not weight or advantage != "gdpo",
     ("algorithm.kl.place", "algorithm.kl.weight", "algorithm.advantage")),
    ("is subtracted from the score, which algorithm.advantage='gdpo' does not read: set it to 'keep' or 'mask', or "
     "have the reward function return a key for the length, and name it in algorithm.gdpo_reward_keys",
     lambda overlong, advantage: overlong != "penalty" or advantage != "gdpo",
     ("algorithm.overlong", "algorithm.advantage")),
    ("one sample of a prompt cannot differ from itself: at least rollout.num_samples=2 is needed",
     lambda dynamic, samples: not dynamic or samples >= 2, ("algorithm.dynamic_sampling", "rollout.num_samples")),
    *((f"leaves a distribution that the trainer cannot score: leave it {default}, or set "
       "algorithm.old_log_probs='recompute', which corrects for it",
       lambda value, source, default=default: source == "recompute" or value == default,
       (path, "algorithm.old_log_probs"))
      for path, default in {"rollout.top_p": 1, "rollout.top_k": 0, "rollout.min_p": 0}.items()),
    ("must be below algorithm.correction.high={1}, and the band must include 1, the weight of agreement",
     lambda low, high, kind: kind != "banded" or (low < high and low <= 1 <= high),
     ("algorithm.correction.low", "algorithm.correction.high", "algorithm.correction.weights")),
    *((f"must be at {most} 0, the mean in nats if trainer and sampler agree; for weights from a to b set "
       "reject_below=-log(b), reject_above=-log(a) and rejection='mean_k1'",
       lambda bound, kind, sign=sign: kind == "none" or bound is None or sign * bound >= 0,
       (path, "algorithm.correction.rejection"))
      for path, most, sign in (
          ("algorithm.correction.reject_below", "most", -1), ("algorithm.correction.reject_above", "least", 1))),
    ("needs algorithm.correction.reject_below or .reject_above",
     lambda kind, low, high: kind == "none" or (low, high) != (None, None),
     ("algorithm.correction.rejection", "algorithm.correction.reject_below", "algorithm.correction.reject_above")),
    ("must be above a fifth of the samples of an iteration, {2} x {3}, or one step could turn the weight's sign",
     lambda horizon, kind, prompts, samples: kind == "fixed" or horizon > prompts * samples / 5,
     ("algorithm.kl.horizon", "algorithm.kl.controller", "rollout.prompts_per_step", "rollout.num_samples")),
    ("must be at most rollout.max_tokens={1}", lambda tail, longest, kind: kind != "penalty" or tail <= longest,
     ("algorithm.overlong_buffer", "rollout.max_tokens", "algorithm.overlong")),
    ("must divide the samples of an iteration: rollout.prompts_per_step={1} times rollout.num_samples={2}",
     lambda minibatches, prompts, samples: prompts * samples % minibatches == 0,
     ("algorithm.minibatches", "rollout.prompts_per_step", "rollout.num_samples")),
    *((f"must lie in [{TEMPERATURES[0]}, {TEMPERATURES[1]}] with vLLM",
       lambda temperature, engine, in_pool: "vllm" not in (engine, in_pool if engine == "pool" else engine)
       or TEMPERATURES[0] <= temperature <= TEMPERATURES[1],
       (path, "rollout.engine", "rollout.pool.engine"))
      for path in ("rollout.temperature", "trainer.eval_temperature")),
    ("leaves workers without samples: an iteration has rollout.prompts_per_step={1} prompts, and at most 1 + "
     "rollout.max_staleness={2} iterations are in flight",
     lambda workers, prompts, lag, engine: engine != "pool" or workers <= prompts * (1 + lag),
     ("rollout.pool.workers", "rollout.prompts_per_step", "rollout.max_staleness", "rollout.engine")),
    ("must not exceed trainer.steps={1}: no sample can be older", lambda lag, steps: not steps or lag <= steps,
     ("rollout.max_staleness", "trainer.steps")),
    ("must not exceed rollout.pool.workers={1}", lambda fewest, workers: fewest <= workers,
     ("rollout.pool.min_workers", "rollout.pool.workers")),
    ("contradicts ntl.enabled={1}; leave it None", lambda use, enabled: use in (None, enabled),
     ("use_ntl_trainer", "ntl.enabled")),
    ("needs ntl.temperature_schedule, such as 'linear:1.0->0.3@500'",
     lambda adaptive, schedule: not adaptive or schedule is not None,
     ("ntl.adaptive_temperature", "ntl.temperature_schedule")),
    ("would always be 0: with ntl.reward_mode={1} the answer's digits have no truth; use 'hybrid', or 'all' here",
     lambda kind, mode, enabled: not enabled or kind == "all" or mode != "all_tokens",
     ("reward.ntl_bonus_type", "ntl.reward_mode", "ntl.enabled")),
)  # fmt: skip


def find_problems(config: Section, base: Section | None = None) -> list[str]:
    """One line for every problem of a ``RunConfig``: the setting, what was given, what is allowed.

    Args:
        config: the configuration to check.
        base: the configuration before settings were changed; None: the defaults. See ``RunConfig.validate``.
    """
    settings, problems = list(leaves(config)), {}
    for leaf in settings:
        if not _fits(leaf.kind, leaf.value):
            problems[leaf.path] = _expected(leaf.kind, leaf.value)
        elif leaf.allowed is not None and not leaf.allowed.holds(leaf.value):
            problems[leaf.path] = f"must {leaf.allowed.words}"
        elif isinstance(leaf.value, str) and not leaf.value.strip():
            problems[leaf.path] = EMPTY
    sound = {leaf.path: leaf.value for leaf in settings if leaf.path not in problems}
    defaults = flatten(type(config)())
    stands = defaults if base is None else flatten(base)
    for leaf in settings:
        if leaf.path not in sound or leaf.value in (defaults[leaf.path], stands[leaf.path], *leaf.idle):
            continue
        if unmet := _first_unmet(leaf, sound):
            problems.setdefault(leaf.path, _without_effect(unmet, sound, stands[leaf.path]))
    for text, holds, paths in _COMBINATIONS:
        if sound.keys() >= set(paths):
            values = [sound[path] for path in paths]
            if not holds(*values):
                problems.setdefault(paths[0], text.format(*values))
    given = {leaf.path: leaf.value for leaf in settings}
    return [f"{path}={given[path]!r}: {text}" for path, text in problems.items()]


@contextlib.contextmanager
def named(setting: str, value: str | None) -> Iterator[None]:
    """Errors within this context are ValueErrors that start with the setting and its value, as in `find_problems`.

    Args:
        setting: its path, or the option that sets it.
        value: its value; None: nothing was given, and errors stay as they are.

    Example:
        >>> with named("data.train", "a.jsonl"):
        ...     raise ValueError("a.jsonl does not exist")
        Traceback (most recent call last):
        ...
        ValueError: data.train='a.jsonl' does not exist
    """
    try:
        yield
    except (ValueError, OSError) as error:
        text = str(error)
        if value is None or text.startswith(f"{setting}="):
            raise
        again = f"{value} "  # the value is not said twice
        what = f" {text.removeprefix(again)}" if text.startswith(again) else f": {text}"
        raise ValueError(f"{setting}={value!r}{what}") from error


def _first_unmet(leaf: Leaf, sound: Mapping[str, object]) -> tuple[Need, ...]:
    """The first need of a setting that is not met, with its alternatives; empty if there is none."""
    others = [need for need in leaf.needs if need.path != leaf.path]
    return next((unmet for need in others if (unmet := need.unmet(sound))), ())


def _without_effect(unmet: Sequence[Need], sound: Mapping[str, object], leave: object) -> str:
    because = " and ".join(f"{need.path}={sound[need.path]!r}" for need in unmet)
    remedies = " or ".join(f"{need.path}{need.remedy}" for need in unmet)
    return f"has no effect with {because}: leave it {leave!r}, or set {remedies}"


def _fits(kind: object, value: object) -> bool:
    """Whether a value has the annotated type; an int counts as a float, a bool never counts as a number."""
    options = get_args(kind)
    match get_origin(kind):
        case None:
            return type(value) in ((int, float) if kind is float else (kind,))
        case typing.Literal:
            return any(type(value) is type(option) and value == option for option in options)
        case types.UnionType | typing.Union:
            return any(_fits(option, value) for option in options)
    assert get_origin(kind) is tuple, f"no setting is a {kind}"
    if type(value) is not tuple:
        return False
    items = options[:1] * len(value) if options[-1] is ... else options
    return len(items) == len(value) and all(map(_fits, items, value))


def _expected(kind: object, value: object) -> str:
    """What the annotation allows; for a Literal, also the nearest choice."""
    if get_origin(kind) is not typing.Literal:
        hint = f", as in ({value!r},)" if get_origin(kind) is tuple and isinstance(value, str) else ""
        return f"must be {_name(kind)}{hint}"
    near = difflib.get_close_matches(str(value).lower(), map(str, get_args(kind)), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"must be one of {', '.join(map(repr, get_args(kind)))}{hint}"


def _name(kind: object) -> str:
    """An annotation in words.

    Example:
        >>> _name(int | None), _name(int | typing.Literal["all"])
        ('int or None', "int or 'all'")
    """
    match get_origin(kind):
        case typing.Literal:
            return " or ".join(map(repr, get_args(kind)))
        case types.UnionType | typing.Union:
            return " or ".join(map(_name, get_args(kind)))
    return "None" if kind is types.NoneType else kind.__name__ if isinstance(kind, type) else str(kind)

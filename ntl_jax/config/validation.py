# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a configuration: types, then ranges of single settings, then settings that contradict each other.

A check is left out only where a setting it looks at already has a wrong type or range.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable
from math import inf
from typing import Any, get_args, get_origin

from ntl_jax.config.serialisation import leaves
from ntl_jax.config.temperature import FORM, parse_schedule
from ntl_jax.config.vllm import TEMPERATURES

_GROUPED = ("group", "leave_one_out", "optimal_baseline", "reinforce_plus_plus_baseline")
_Check = tuple[str, Callable[..., Any], tuple[str, ...]]

# Each: what is allowed, a test that nan fails, and the settings that it holds for, one by one.
_RANGES: tuple[_Check, ...] = (
    ("must lie in [0, 2**31)", lambda x: 0 <= x < 2**31, ("seed",)),
    ("must be at least 1", lambda x: 1 <= x < inf, (
        "model.num_layers", "model.width", "model.num_heads", "model.num_kv_heads", "model.feed_forward",
        "data.max_prompt_tokens", "data.max_solution_tokens", "data.num_train", "warm_start.batch_size",
        "rollout.prompts_per_step", "rollout.num_samples", "rollout.max_tokens", "algorithm.epochs",
        "algorithm.minibatches", "algorithm.overlong_buffer", "trainer.max_tokens_per_micro_batch",
        "trainer.eval_every", "trainer.save_every", "trainer.keep_last",
        "rollout.vllm.tensor_parallel_size", "rollout.vllm.bucket_mib")),
    ("must be at least 0", lambda x: 0 <= x < inf, (
        "warm_start.steps", "warm_start.ntl_weight", "ntl.weight", "reward.ntl_bonus_weight", "trainer.steps",
        "trainer.eval_samples", "trainer.samples_per_step", "algorithm.value_weight", "algorithm.entropy_weight",
        "algorithm.kl.weight", "algorithm.correction.low", "algorithm.overlong_penalty", "algorithm.max_refills",
        "algorithm.critic_warmup", "rollout.top_k", "warm_start.optimizer.warmup_steps",
        "algorithm.optimizer.warmup_steps", "warm_start.optimizer.weight_decay", "algorithm.optimizer.weight_decay")),
    ("must be above 0", lambda x: 0 < x < inf, (
        "model.rope_theta", "rollout.temperature", "algorithm.clip_low", "algorithm.clip_high", "algorithm.value_clip",
        "algorithm.sapo_tau_positive", "algorithm.sapo_tau_negative", "algorithm.kl.target", "algorithm.kl.horizon",
        "algorithm.correction.high", "trainer.eval_temperature", "ntl.temperature",
        "warm_start.optimizer.learning_rate", "algorithm.optimizer.learning_rate",
        "warm_start.optimizer.max_grad_norm", "algorithm.optimizer.max_grad_norm")),
    ("must lie in [0, 1]", lambda x: 0 <= x <= 1, ("algorithm.gamma", "algorithm.lam", "rollout.min_p")),
    ("must lie in (0, 1]", lambda x: 0 < x <= 1, ("rollout.top_p", "trainer.eval_top_p")),
    ("must be above 1 (3 is usual), or None", lambda x: x is None or 1 < x < inf, ("algorithm.dual_clip",)),
    ("must be above 0, or None", lambda x: x is None or 0 < x < inf, ("algorithm.critic_learning_rate",)),
    ("must be a finite number, or None", lambda x: x is None or -inf < x < inf, (
        "algorithm.correction.reject_below", "algorithm.correction.reject_above")),
    ("must lie in [0, 1)", lambda x: 0 <= x < 1, (
        "warm_start.optimizer.b1", "warm_start.optimizer.b2", "algorithm.optimizer.b1", "algorithm.optimizer.b2",
        "warm_start.optimizer.ema_decay", "algorithm.optimizer.ema_decay")),
    ("must be at least 5: below, some problems have no solution", lambda x: 5 <= x < inf, ("data.max_number",)),
    ("must be even and at least 2, for rotary positions", lambda x: x >= 2 and x % 2 == 0, ("model.head_dim",)),
    ("must be positive sizes, at most one of them -1",
     lambda mesh: all(size == -1 or size >= 1 for size in mesh) and mesh.count(-1) <= 1, ("model.mesh",)),
    ("must be one or more of 1, 2, 3, 4", lambda tiers: tiers and set(tiers) <= {1, 2, 3, 4}, ("data.tiers",)),
    ("must contain {question}, which stands for the problem's text", lambda x: "{question}" in x, ("data.template",)),
    (FORM, lambda x: x in (None, "constant") or parse_schedule(x) is not None, ("ntl.temperature_schedule",)),
    ("must be None or at least 1", lambda x: x is None or x >= 1, (
        "rollout.slots", "rollout.vllm.max_num_seqs", "rollout.vllm.kv_cache_memory_bytes", "trainer.eval_problems")),
    ("must be None or lie in (0, 1]", lambda x: x is None or 0 < x <= 1, (
        "rollout.vllm.gpu_memory_utilization", "trainer.target_accuracy")),
    ("must not be empty", bool, ("tracking.project",)),
    ("must be engine arguments of vLLM like 'block_size=32'",
     lambda options: all(option.partition("=")[0].isidentifier() and "=" in option for option in options),
     ("rollout.vllm.options",)),
    ("must be texts, none of them empty", all, ("rollout.stop_strings",)),
    ("must be the name of a folder, without / and \\", lambda x: x and not set(x) & set("/\\"), ("name",)),
)  # fmt: skip

# Each: what is wrong with the first setting ({1} and {2} are the other values), a test of all, and the settings.
_COMBINATIONS: tuple[_Check, ...] = (
    ("must be a multiple of model.num_kv_heads={1}", lambda heads, kv_heads: heads % kv_heads == 0,
     ("model.num_heads", "model.num_kv_heads")),
    ("with warm_start.steps=0 the run would have no steps: set one of them to at least 1",
     lambda iterations, updates: iterations or updates, ("trainer.steps", "warm_start.steps")),
    ("must be below trainer.steps={1}, or the policy gets no update",
     lambda warmup, iterations: not iterations or warmup < iterations, ("algorithm.critic_warmup", "trainer.steps")),
    ("data.train names a file, so the held-out file must be named too",
     lambda held_out, train: train is None or held_out is not None, ("data.eval", "data.train")),
    ("needs data.eval, a file: the generator's problems have no end",
     lambda count, held_out: count is not None or held_out is not None, ("trainer.eval_problems", "data.eval")),
    ("exceeds the data.num_train={1} problems that the generator makes: lower it, or raise data.num_train",
     lambda asked, made, train, iterations: train is not None or not iterations or asked <= made,
     ("rollout.prompts_per_step", "data.num_train", "data.train", "trainer.steps")),
    ("the baseline of algorithm.advantage={1} needs at least 2 (or algorithm.advantage='gae')",
     lambda samples, advantage: advantage not in _GROUPED or samples >= 2,
     ("rollout.num_samples", "algorithm.advantage")),
    ("one sample of a prompt cannot differ from itself: at least rollout.num_samples=2 is needed",
     lambda dynamic, samples: not dynamic or samples >= 2, ("algorithm.dynamic_sampling", "rollout.num_samples")),
    *((f"has no effect with algorithm.advantage={{1}}: leave it {default!r}, or set algorithm.advantage='gae'",
       lambda value, advantage, default=default: advantage == "gae" or value == default, (path, "algorithm.advantage"))
      for path, default in {
          "algorithm.critic": "own", "algorithm.critic_warmup": 0, "algorithm.critic_learning_rate": None}.items()),
    ("is for algorithm.objective='clipped'; leave it None", lambda bound, kind: bound is None or kind == "clipped",
     ("algorithm.dual_clip", "algorithm.objective")),
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
    ("a weight of 0 stays 0: set algorithm.kl.weight, or leave it 'fixed'",
     lambda kind, weight: kind == "fixed" or weight > 0, ("algorithm.kl.controller", "algorithm.kl.weight")),
    ("must be above a fifth of the samples of an iteration, {2} x {3}, or one step could turn the weight's sign",
     lambda horizon, kind, prompts, samples: kind == "fixed" or horizon > prompts * samples / 5,
     ("algorithm.kl.horizon", "algorithm.kl.controller", "rollout.prompts_per_step", "rollout.num_samples")),
    ("must be at most rollout.max_tokens={1}", lambda tail, longest, kind: kind != "penalty" or tail <= longest,
     ("algorithm.overlong_buffer", "rollout.max_tokens", "algorithm.overlong")),
    ("must divide the samples of an iteration: rollout.prompts_per_step={1} times rollout.num_samples={2}",
     lambda minibatches, prompts, samples: prompts * samples % minibatches == 0,
     ("algorithm.minibatches", "rollout.prompts_per_step", "rollout.num_samples")),
    ("is of rollout.engine='jax'; with 'vllm' set rollout.vllm.max_num_seqs",
     lambda slots, engine: slots is None or engine == "jax", ("rollout.slots", "rollout.engine")),
    *((f"must lie in [{TEMPERATURES[0]}, {TEMPERATURES[1]}] with rollout.engine='vllm'",
       lambda temperature, engine: engine == "jax" or TEMPERATURES[0] <= temperature <= TEMPERATURES[1],
       (path, "rollout.engine"))
      for path in ("rollout.temperature", "trainer.eval_temperature")),
    ("contradicts ntl.enabled={1}; leave it None", lambda use, enabled: use in (None, enabled),
     ("use_ntl_trainer", "ntl.enabled")),
    ("needs ntl.temperature_schedule, such as 'linear:1.0->0.3@500'",
     lambda adaptive, schedule: not adaptive or schedule is not None,
     ("ntl.adaptive_temperature", "ntl.temperature_schedule")),
    ("has no effect: set ntl.adaptive_temperature=true, or leave it out",
     lambda schedule, adaptive: adaptive or schedule in (None, "constant"),
     ("ntl.temperature_schedule", "ntl.adaptive_temperature")),
    ("would always be 0: with ntl.reward_mode={1} the answer's digits have no truth; use 'hybrid', or 'all' here",
     lambda kind, mode, enabled: not enabled or kind == "all" or mode != "all_tokens",
     ("reward.ntl_bonus_type", "ntl.reward_mode", "ntl.enabled")),
)  # fmt: skip

_MODEL_SIZES = (
    "num_layers", "width", "num_heads", "num_kv_heads", "head_dim", "feed_forward", "rope_theta", "tie_embeddings",
)  # fmt: skip


def find_problems(config: Any) -> list[str]:
    """One line for every problem of a ``RunConfig``: the setting, what was given, what is allowed."""
    fields = list(leaves(config))
    sound = {path: value for path, kind, value in fields if _fits(kind, value)}
    problems = [f"{path}={value!r}: {_expected(kind, value)}" for path, kind, value in fields if path not in sound]
    for text, holds, paths in _RANGES:
        for path in paths:
            if path in sound and not holds(sound[path]):
                problems.append(f"{path}={sound.pop(path)!r}: {text}")
    for text, holds, paths in _COMBINATIONS:
        if sound.keys() >= set(paths):
            values = [sound[path] for path in paths]
            if not holds(*values):
                problems.append(f"{paths[0]}={values[0]!r}: {text.format(*values)}")
    if sound.get("model.path") is not None:
        defaults = {f"model.{field.name}": field.default for field in dataclasses.fields(config.model)}
        problems += [
            f"{path}={sound[path]!r}: the checkpoint of model.path sets it; leave it out"
            for path in (f"model.{name}" for name in _MODEL_SIZES)
            if path in sound and sound[path] != defaults[path]
        ]
    return problems


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value is of the annotated type; an int will do for a float, a bool for no number."""
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


def _expected(kind: Any, value: Any) -> str:
    """What the annotation allows; of the words of a Literal, which is nearest."""
    if get_origin(kind) is not typing.Literal:
        return f"must be {kind.__name__ if isinstance(kind, type) else kind}"
    near = difflib.get_close_matches(str(value).lower(), map(str, get_args(kind)), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"must be one of {', '.join(map(repr, get_args(kind)))}{hint}"

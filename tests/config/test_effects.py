# SPDX-License-Identifier: Apache-2.0
"""A changed setting that nothing would read is refused with what it needs; nothing else is."""

import dataclasses
from typing import Literal, get_args, get_origin

import pytest

from ntl_jax.config import RunConfig, flatten
from ntl_jax.config.serialization import leaves
from ntl_jax.config.validation import find_problems

DEFAULTS = flatten(RunConfig())
LEAVES = {leaf.path: leaf for leaf in leaves(RunConfig())}
TEXTS: dict[str, object] = {
    "data.task": "calculations",
    "data.weights": (1.0, 3.0),
    "algorithm.gdpo_reward_keys": ("score", "closeness"),
    "algorithm.gdpo_reward_weights": (1.0, 3.0),
    "ntl.temperature_schedule": "cosine:1->0.1@5",
    "reward.function": "mine.py:score",
}
# For each setting that needs others: what must be set, beside it, for it to have an effect.
RECOMPUTE = {"algorithm.old_log_probs": "recompute"}
GAE = {"algorithm.advantage": "gae"}
KL = {"algorithm.kl.weight": 0.1}
BONUS = {"reward.function": "mine.py:score"}
FILES = {"data.train": ("a.jsonl",), "data.eval": ("b.jsonl",)}
ON = {
    "model.num_layers": {}, "model.width": {}, "model.num_heads": {}, "model.num_kv_heads": {}, "model.head_dim": {},
    "model.feed_forward": {}, "model.rope_theta": {}, "model.tie_embeddings": {},
    "data.max_solution_tokens": {}, "data.tiers": {}, "data.max_number": {},
    "data.num_train": {}, "data.task": {}, "data.operations": {"data.task": "calculations"},
    "data.task_options": {"data.task": "reasoning_gym:gcd"}, "answer.form": {},
    "data.weights": FILES | {"data.train": ("a.jsonl", "c.csv")},
    **{f"data.fields.{name}": FILES for name in ("question", "answer", "solution", "source")},
    "warm_start.batch_size": {}, "warm_start.ntl_method": {}, "warm_start.ntl_weight": {},
    **{f"warm_start.optimizer.{name}": {} for name in (
        "name", "learning_rate", "warmup_steps", "schedule", "weight_decay", "b1", "b2", "max_grad_norm", "ema_decay")},
    "rollout.slots": {},
    **{f"rollout.vllm.{name}": {"rollout.engine": "vllm"} for name in (
        "dtype", "tensor_parallel_size", "max_num_seqs", "gpu_memory_utilization", "kv_cache_memory_bytes",
        "quantization", "enforce_eager", "options", "bucket_mib")},
    **{f"rollout.pool.{name}": {"rollout.engine": "pool"} for name in (
        "workers", "engine", "cpus_per_worker", "gpus_per_worker", "resources", "address", "max_restarts",
        "min_workers", "timeout_s")},
    "rollout.max_staleness": {"rollout.engine": "pool"},
    "algorithm.normalize_groups": {},
    **{f"algorithm.gdpo_reward_{name}": {"algorithm.advantage": "gdpo"} for name in ("keys", "weights")},
    **{f"algorithm.clipped.{name}": {} for name in ("clip_low", "clip_high", "dual_clip")},
    **{f"algorithm.{kind}.{name}": {"algorithm.objective": kind} for kind in ("gspo", "cispo")
       for name in ("clip_low", "clip_high")},
    **{f"algorithm.sapo.tau_{sign}": {"algorithm.objective": "sapo"} for sign in ("positive", "negative")},
    **{f"algorithm.kl.{name}": KL for name in ("place", "estimator", "controller")},
    **{f"algorithm.kl.{name}": KL | {"algorithm.kl.controller": "adaptive"} for name in ("target", "horizon")},
    "algorithm.correction.weights": RECOMPUTE, "algorithm.correction.level": RECOMPUTE,
    "algorithm.correction.low": RECOMPUTE | {"algorithm.correction.weights": "banded"},
    "algorithm.correction.high": RECOMPUTE,
    "algorithm.correction.rejection": RECOMPUTE | {"algorithm.correction.reject_above": 0.1},
    "algorithm.correction.reject_below": RECOMPUTE | {"algorithm.correction.rejection": "mean_k1"},
    "algorithm.correction.reject_above": RECOMPUTE | {"algorithm.correction.rejection": "mean_k1"},
    **{f"algorithm.overlong_{name}": {"algorithm.overlong": "penalty"} for name in ("buffer", "penalty")},
    "algorithm.max_refills": {"algorithm.dynamic_sampling": True},
    **{f"algorithm.{name}": GAE for name in (
        "gamma", "lam", "critic", "critic_warmup", "critic_learning_rate", "value_clip", "value_weight")},
    "algorithm.optimizer.b1": {"algorithm.optimizer.name": "muon"}, "algorithm.optimizer.b2": {},
    **{f"ntl.{name}": {} for name in (
        "method", "weight", "extract_during_generation", "extract_during_log_prob", "pass_to_reward_function",
        "reward_mode", "temperature", "log_metrics", "debug_mode", "save_digit_info", "fallback_on_error",
        "require_digits")},
    "ntl.adaptive_temperature": {"ntl.temperature_schedule": "cosine:1->0.1@5"},
    "ntl.temperature_schedule": {"ntl.adaptive_temperature": True},
    **{f"reward.{name}": BONUS for name in (
        "timeout_s", "workers", "use_ntl_bonus", "ntl_bonus_type", "ntl_bonus_weight")},
    **{f"divergence.{name}": {} for name in (
        "threshold", "top_k", "every", "path", "max_megabytes", "context", "on_alarm")},
    "trainer.eval_temperature": {"trainer.eval_samples": 4}, "trainer.eval_top_p": {"trainer.eval_samples": 4},
    "trainer.coordinator": {}, "trainer.num_processes": {}, "trainer.process_id": {}, "trainer.heartbeat_timeout_s": {},
    "tracking.project": {"tracking.backends": ("mlflow",)}, "tracking.run_name": {"tracking.backends": ("wandb",)},
    "tracking.wandb_mode": {"tracking.backends": ("wandb",)},
    "tracking.mlflow_uri": {"tracking.backends": ("tensorboard", "mlflow")},
}  # fmt: skip
# What switches off the settings that have an effect by default.
OFF = {
    "model.": {"model.path": "policy"},
    "data.": FILES,
    "answer.": {"answer.pattern": "is (.*)"},
    "data.fields.": {"data.train": (), "data.eval": ()},
    "data.max_solution_tokens": {"warm_start.steps": 0},
    "warm_start.": {"warm_start.steps": 0},
    "rollout.slots": {"rollout.engine": "vllm"},
    "algorithm.normalize_groups": {"algorithm.advantage": "remax"},
    "algorithm.clipped.": {"algorithm.objective": "reinforce"},
    "algorithm.optimizer.": {"algorithm.optimizer.name": "adafactor"},
    "ntl.": {"ntl.enabled": False},
    "divergence.": {"divergence.enabled": False},
    "ntl.debug_mode": {"trainer.logged_prompts": 0},
    **{f"trainer.{name}": {"trainer.distributed": "off"} for name in (
        "coordinator", "num_processes", "process_id", "heartbeat_timeout_s")},
}  # fmt: skip


def with_settings(settings, base=None):
    config = base or RunConfig()
    for path, value in settings.items():
        config = _changed(config, path, value)
    return config


def _changed(section, path, value):
    name, _, rest = path.partition(".")
    return dataclasses.replace(section, **{name: _changed(getattr(section, name), rest, value) if rest else value})


def another(path):
    """A value of the setting that is neither its default nor a problem beside what it needs."""
    leaf, candidates = (
        LEAVES[path],
        [TEXTS.get(path, "x"), ("a=1",), ("*",), (1,), True, False, 0.05, 0.5, 1, 2, 64, -0.1, 30],
    )
    words = [
        word for kind in (leaf.kind, *get_args(leaf.kind)) if get_origin(kind) is Literal for word in get_args(kind)
    ]
    for value in [*words, *candidates]:
        config = with_settings(ON[path] | {path: value})
        if value != leaf.value and find_problems(config, config) == []:
            return value
    raise AssertionError(f"add a value of {path} to the candidates")


def refused(settings, base=None):
    return {
        line.partition("=")[0] for line in find_problems(with_settings(settings, base), base) if "no effect" in line
    }


def test_every_setting_that_needs_another_is_in_the_table():
    assert {path for path, leaf in LEAVES.items() if [n for n in leaf.needs if n.path != path]} == ON.keys()


@pytest.mark.parametrize("path", ON)
def test_a_setting_has_an_effect_with_what_it_needs_and_is_refused_without(path):
    change = {path: another(path)}
    assert path not in refused(ON[path] | change)
    switches = [OFF[prefix] for prefix in sorted(OFF, key=len, reverse=True) if path.startswith(prefix)]
    off = switches[0] if switches and not refused(change) else {}
    assert path in refused(off | change)
    assert refused(off) == set()


@pytest.mark.parametrize("path", ON)
def test_what_a_base_has_is_not_refused_when_an_override_switches_it_off(path):
    base = with_settings(ON[path] | {path: another(path)})
    switches = [OFF[prefix] for prefix in sorted(OFF, key=len, reverse=True) if path.startswith(prefix)]
    for off in [*switches, {name: DEFAULTS[name] for name in ON[path]}]:
        assert refused(off, base) == set()


def test_the_message_names_what_stands_there_and_every_way_out():
    (line,) = find_problems(with_settings({"algorithm.gamma": 0.9}))
    assert line == (
        "algorithm.gamma=0.9: has no effect with algorithm.advantage='group': leave it 1.0, or set "
        "algorithm.advantage='gae' or 'reinforce_plus_plus'"
    )
    (line,) = find_problems(with_settings({"data.max_solution_tokens": 9, "warm_start.steps": 0}))
    assert line == (
        "data.max_solution_tokens=9: has no effect with warm_start.steps=0: leave it 512, or set warm_start.steps "
        "above 0"
    )
    base = with_settings({"warm_start.steps": 0, "warm_start.ntl_weight": 0.2})
    (line,) = find_problems(with_settings({"warm_start.ntl_weight": 0.7}, base), base)
    assert "leave it 0.2, or set warm_start.steps above 0" in line


def test_the_default_and_what_asks_for_nothing_are_never_refused():
    base = with_settings({"ntl.enabled": False, "ntl.weight": 0.7})
    assert find_problems(with_settings({"ntl.weight": 0.1}, base), base) == []
    assert find_problems(with_settings({"ntl.temperature_schedule": "constant"})) == []


def test_settings_of_ppo_are_kept_for_a_run_that_stops_before_it_and_may_go_on():
    assert (
        find_problems(with_settings({"trainer.steps": 0, "algorithm.objective": "gspo", "trainer.eval_every": 5})) == []
    )

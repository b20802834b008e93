# SPDX-License-Identifier: Apache-2.0
"""PPO trainers from a configuration, with or without Number Token Loss: one class, different settings."""

import contextlib
import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedTokenizerBase

from ntl_jax.config import NTLSection, RunConfig
from ntl_jax.train.engines import build_engine
from ntl_jax.train.factory import build_scoring, build_task, check_run, ppo_trainer
from ntl_jax.train.policy import build_params, build_policy
from ntl_jax.train.prompts import build_prompts
from ntl_jax.train.stages.policy_optimization import PPOTrainer

EXAMPLE_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "final_answer_mode": {"reward_mode": "final_answer"},
    "all_tokens_mode": {"reward_mode": "all_tokens"},
    "aggressive_ntl": {"temperature": 0.5},
    "forgiving_ntl": {"temperature": 2.0},
    "debug_mode": {"debug_mode": True, "save_digit_info": True},
}
"""Settings for `create_ntl_trainer`, by name: ``create_ntl_trainer(config, **EXAMPLE_CONFIGS["forgiving_ntl"])``."""


def create_ppo_trainer(
    config: RunConfig,
    tokenizer: PreTrainedTokenizerBase | None = None,
    processor: None = None,
    *,
    use_ntl: bool | None = None,
    **settings: object,
) -> PPOTrainer:
    """A PPO trainer from a configuration; ``use_ntl`` overrides whether it uses NTL.

    Its ``close()`` ends the rollout engine and the reward function's processes.

    Args:
        config: any ``RunConfig``; ``config.model`` defines the policy.
        tokenizer: used instead of ``config.data.tokenizer`` or the tokenizer of ``config.model.path``.
        processor: must be None; policies read text only.
        use_ntl: whether to use NTL; None: as ``config.use_ntl_trainer`` and ``config.ntl.enabled`` say.
        **settings: fields of ``config.ntl`` to override, such as ``method``, ``reward_mode``, ``temperature``,
            ``weight``, ``extract_during_generation``, ``debug_mode``.

    Raises:
        ValueError: for an unknown setting, a processor, and invalid settings, files or reward functions.

    Example:
        >>> from ntl_jax.config import DataSection, ModelSection, RolloutSection
        >>> config = RunConfig(
        ...     model=ModelSection(num_layers=1, width=16, num_heads=2, num_kv_heads=1, head_dim=8, feed_forward=32,
        ...                        mesh=(1, 1, 1)),
        ...     data=DataSection(num_train=8), rollout=RolloutSection(prompts_per_step=1, num_samples=2, max_tokens=8))
        >>> create_ppo_trainer(config, use_ntl=False).config.ntl.enabled
        False
        >>> create_ntl_trainer(config, **EXAMPLE_CONFIGS["forgiving_ntl"]).config.ntl.temperature
        2.0
    """
    if processor is not None:
        raise ValueError(f"processor={processor!r:.80}: policies read text only; leave it out or pass None")
    config = dataclasses.replace(config, ntl=_changed(config.ntl, settings))
    # Without NTL, its settings have no effect but are still accepted: the same call creates both kinds of trainer.
    base = None if use_ntl is not False else dataclasses.replace(RunConfig(), ntl=config.ntl, reward=config.reward)
    if use_ntl is not None:
        config = dataclasses.replace(config, use_ntl_trainer=None, ntl=dataclasses.replace(config.ntl, enabled=use_ntl))
    config.validate(base)
    task, policy = build_task(config), build_policy(config, tokenizer)
    prompts = build_prompts(config, task, policy.tokenizer)
    with contextlib.ExitStack() as undo:
        scorer, digits = build_scoring(config, task, policy, prompts.shape(config.rollout.max_tokens))
        undo.callback(scorer.close)
        check_run(config, policy, prompts)
        params = build_params(policy, seed=config.seed)
        engine = build_engine(config, policy, max_prompt_tokens=prompts.longest)
        undo.callback(engine.close)
        trainer = ppo_trainer(config, policy, params, prompts, engine, scorer, digits)
        undo.pop_all()
    return trainer


def create_standard_trainer(
    config: RunConfig,
    tokenizer: PreTrainedTokenizerBase | None = None,
    processor: None = None,
    **settings: object,
) -> PPOTrainer:
    """Plain PPO: no NTL record and no NTL term, whatever ``config.ntl`` and ``settings`` say.

    Args:
        config, tokenizer, processor, settings: as in `create_ppo_trainer`, so that the same call creates both kinds.

    Raises:
        ValueError: as there.

    Example: see `create_ppo_trainer`.
    """
    return create_ppo_trainer(config, tokenizer, processor, use_ntl=False, **settings)


def create_ntl_trainer(
    config: RunConfig,
    tokenizer: PreTrainedTokenizerBase | None = None,
    processor: None = None,
    **settings: object,
) -> PPOTrainer:
    """PPO with Number Token Loss.

    Args:
        config, tokenizer, processor, settings: as in `create_ppo_trainer`.

    Raises:
        ValueError: as there.

    Example: see `create_ppo_trainer`.
    """
    return create_ppo_trainer(config, tokenizer, processor, use_ntl=True, **settings)


def create_final_answer_ntl_trainer(
    config: RunConfig,
    tokenizer: PreTrainedTokenizerBase | None = None,
    processor: None = None,
    **settings: object,
) -> PPOTrainer:
    """`create_ntl_trainer` with the digits of the final answer as truth.

    Args:
        config, tokenizer, processor, settings: as in `create_ppo_trainer`.

    Raises:
        ValueError: as there.

    Example: see `create_ppo_trainer`.
    """
    return create_ntl_trainer(config, tokenizer, processor, **settings | {"reward_mode": "final_answer"})


def create_all_tokens_ntl_trainer(
    config: RunConfig,
    tokenizer: PreTrainedTokenizerBase | None = None,
    processor: None = None,
    **settings: object,
) -> PPOTrainer:
    """`create_ntl_trainer` with the results of all equations as truth.

    Args:
        config, tokenizer, processor, settings: as in `create_ppo_trainer`.

    Raises:
        ValueError: as there.

    Example: see `create_ppo_trainer`.
    """
    return create_ntl_trainer(config, tokenizer, processor, **settings | {"reward_mode": "all_tokens"})


def _changed(section: NTLSection, settings: Mapping[str, object]) -> NTLSection:
    known = [field.name for field in dataclasses.fields(section)]
    for name in settings.keys() - set(known):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the settings are {', '.join(known)}"
        raise ValueError(f"the ntl section has no setting {name!r}: {hint}")
    return dataclasses.replace(section, **settings)

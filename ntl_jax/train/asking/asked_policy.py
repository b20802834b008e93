# SPDX-License-Identifier: Apache-2.0
"""The policy that a command names: a run's, from one of its checkpoints, or a Hugging Face model."""

from ntl_jax.config import RunConfig, from_home
from ntl_jax.ending import warn
from ntl_jax.policy_options import AskedPolicy
from ntl_jax.records import Params
from ntl_jax.train.checkpoints.checkpointer import check_has_checkpoint, restore_policy
from ntl_jax.train.policy import Policy, build_params, build_policy, check_checkpoint


def asked_policy(asked: AskedPolicy, config: RunConfig) -> Policy:
    """The policy without its weights, which can be loaded if it is a model.

    Args:
        asked: what the command names.
        config: its settings, changed by options.

    Raises:
        ValueError: as in `ntl_jax.train.policy.build_policy` and `check_checkpoint`.
    """
    policy = build_policy(config)
    if not asked.is_run:
        check_checkpoint(config, policy)
    return policy


def check_asked(asked: AskedPolicy, config: RunConfig) -> None:
    """Checks, without loading the weights, that there are some for the policy, as far as that can be seen.

    Args:
        asked: what the command names.
        config: its settings, changed by options.

    Raises:
        ValueError: as in `asked_policy`, and for a run without a checkpoint.
    """
    asked_policy(asked, config)
    if asked.is_run:
        check_has_checkpoint(from_home(asked.given), config.trainer.checkpoint_folder)


def asked_weights(asked: AskedPolicy, policy: Policy, *, seed: int, elsewhere: str | None = None) -> tuple[str, Params]:
    """What the policy is, in words, and its weights.

    Args:
        asked: what the command names.
        policy: from `asked_policy`.
        seed: seed of the weights of a model without a checkpoint.
        elsewhere: the setting ``trainer.checkpoint_folder`` of a run.

    Raises:
        ValueError: for a run without an intact checkpoint, and as in `ntl_jax.models.load_hf`.
    """
    if not asked.is_run:
        return asked.given, build_params(policy, seed=seed)
    run, which = from_home(asked.given), asked.checkpoint
    stage, step, params = restore_policy(run, policy.shapes(), which, warn, elsewhere=elsewhere)
    return f"{asked.given} after step {step} of stage {stage}", params

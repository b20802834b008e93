# SPDX-License-Identifier: Apache-2.0
"""The settings of Number Token Loss in reinforcement learning, and of the reward function."""

import dataclasses
from typing import Literal

from ntl_jax.config.setting import Need, Range, above, at_least, setting, unless, when
from ntl_jax.config.tau_schedule import FORM, parse_schedule

_NTL = when("ntl.enabled", True)
_CUSTOM = Need("reward.function", lambda x: x is not None, " to one that takes it, as 'ntl_jax.rewards:compute_score'")
_USERS = Need("reward.function", lambda x: x is not None and not x.startswith("ntl_jax."), " to a function of your own")
_BONUS = (_CUSTOM, _NTL, when("ntl.pass_to_reward_function", True))
_SCHEDULE: Range[str | None] = Range(FORM, lambda x: x in (None, "constant") or parse_schedule(x) is not None)


@dataclasses.dataclass(frozen=True)
class NTLSection:
    """Number Token Loss in reinforcement learning: a record for the reward, and a term of the actor's loss."""

    enabled: bool = True
    """Off: plain PPO with the same command; rewards have no NTL record and the loss has no NTL term."""
    method: Literal["mse", "wasserstein", "raft"] = setting("mse", needs=[_NTL])
    """Squared error of the expected digit, Wasserstein-1 distance to the true digit, or RAFT, the squared error of the
    expected value over the whole vocabulary: in the actor's loss, REAL's gradient through the reward."""
    weight: float = setting(0.1, at_least(0), needs=[_NTL])
    """Weight of the differentiable term in the actor's loss; 0 leaves it out of the program."""
    extract_during_generation: bool = setting(True, needs=[_NTL])
    """Build the record from the digits' log-probs that the engine captures while sampling."""
    extract_during_log_prob: bool = setting(True, needs=[_NTL])
    """If the engine captures none, compute them in a forward pass of the trainer; always so for multi-digit tokens.
    Both off: the record only says how sure the policy was of its digits, not how right."""
    pass_to_reward_function: bool = setting(True, needs=[_NTL])
    """Off: the reward function receives no NTL record; the loss keeps its NTL term."""
    reward_mode: Literal["final_answer", "all_tokens", "hybrid"] = setting("final_answer", needs=[_NTL])
    """Which digits have a true value: the final answer's, those of all equation results, or both."""
    temperature: float = setting(
        1.0,
        above(0),
        needs=[_NTL, when(".adaptive_temperature", False) | when(".temperature_schedule", None, "constant")],
    )
    """tau in the reward's exp(-ntl_loss / tau)."""
    adaptive_temperature: bool = setting(False, needs=[_NTL])
    """tau follows temperature_schedule over the PPO iterations."""
    temperature_schedule: str | None = setting(
        None, _SCHEDULE, needs=[_NTL, when(".adaptive_temperature", True)], idle=["constant"]
    )
    """`constant` (ntl.temperature), `linear:1.0->0.3@500` (from, to, iterations), `cosine:...` or `exponential:...`."""
    log_metrics: bool = setting(True, needs=[_NTL])
    """Write the metrics of the group ntl/."""
    debug_mode: bool = setting(False, needs=[unless("trainer.logged_prompts", 0, instead=2)])
    """Log inputs and outputs of the reward for the samples of trainer.logged_prompts prompts, digit by digit: logger
    `ntl`, ntl_debug.log in the run folder."""
    save_digit_info: bool = setting(False, needs=[_NTL])
    """Write the record of every iteration to digit_info/STEP.npz in the run folder."""
    cache_digit_mappings: bool = True
    """Read tokens' numbers and texts from the tokenizer once. Off: at every step, for a tokenizer that changes."""
    fallback_on_error: bool = setting(True, needs=[_NTL])
    """A sample whose record cannot be built is scored by exact match, counted and logged; off: the run stops."""
    require_digits: bool = setting(False, needs=[_NTL])
    """Treat a response without any digit as a sample whose record cannot be built."""


@dataclasses.dataclass(frozen=True)
class RewardSection:
    """The reward function."""

    function: str | None = None
    """`path.py:name` or `package.module:name` with verl's compute_score call, for a sample or for the samples of a
    prompt; None: `ntl_jax.rewards:ntl_reward` with NTL, `ntl_jax.rewards:exact_match` without."""
    timeout_s: float = setting(60.0, above(0), needs=[_USERS])
    """A call that takes longer is ended, and its samples are left out of the update."""
    workers: int = setting(4, at_least(1), needs=[_USERS])
    """Largest number of processes that make calls; more than one start only when calls are slow."""
    use_ntl_bonus: bool = setting(True, needs=_BONUS)
    """For functions that take it, such as `ntl_jax.rewards:compute_score`: add a bonus for digits to exact match."""
    ntl_bonus_type: Literal["all", "final_answer"] = setting("all", needs=[*_BONUS, when(".use_ntl_bonus", True)])
    """The bonus covers all digits with a true value, or only those of the final answer."""
    ntl_bonus_weight: float = setting(0.1, at_least(0), needs=[*_BONUS, when(".use_ntl_bonus", True)])
    """Weight of the bonus, which lies in [0, 1]."""

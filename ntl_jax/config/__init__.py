# SPDX-License-Identifier: Apache-2.0
"""Every setting of a run: what there is, which values go together, and the way to JSON and back.

Files in ``configs/`` build a ``RunConfig``; ``--config.section.field=value`` overrides a field.
"""

from ntl_jax.config.algorithm import AlgorithmSection, CorrectionSection, KLSection, OptimizerSection
from ntl_jax.config.escapes import read_escapes, several_in_one, write_escapes
from ntl_jax.config.sections import (
    DataSection,
    ModelSection,
    NTLSection,
    RewardSection,
    RolloutSection,
    RunConfig,
    TrackingSection,
    TrainerSection,
    WarmStartSection,
)
from ntl_jax.config.serialisation import flatten, from_dict
from ntl_jax.config.stored import CONFIG_FILE, stored_config
from ntl_jax.config.temperature import parse_schedule
from ntl_jax.config.vllm import VllmSection

__all__ = [
    "CONFIG_FILE",
    "AlgorithmSection",
    "CorrectionSection",
    "DataSection",
    "KLSection",
    "ModelSection",
    "NTLSection",
    "OptimizerSection",
    "RewardSection",
    "RolloutSection",
    "RunConfig",
    "TrackingSection",
    "TrainerSection",
    "VllmSection",
    "WarmStartSection",
    "flatten",
    "from_dict",
    "parse_schedule",
    "read_escapes",
    "several_in_one",
    "stored_config",
    "write_escapes",
]

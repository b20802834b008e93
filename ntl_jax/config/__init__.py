# SPDX-License-Identifier: Apache-2.0
"""Every setting of a run, their valid combinations, and their conversion to JSON and back.

Files in ``configs/`` build a ``RunConfig``; ``--config.section.field=value`` overrides a field.
"""

from ntl_jax.config.escapes import from_home, printable, read_escapes, several_in_one, write_escapes
from ntl_jax.config.sections.algorithm import (
    AlgorithmSection,
    CispoSection,
    ClippedSection,
    CorrectionSection,
    GspoSection,
    KLSection,
    OptimizerSection,
    SapoSection,
)
from ntl_jax.config.sections.answer import AnswerSection
from ntl_jax.config.sections.data import (
    GYM,
    HUB_NAME,
    LFS_POINTER,
    MOST_PROBLEMS,
    DataSection,
    FieldsSection,
    Operation,
    is_own,
)
from ntl_jax.config.sections.divergence import DivergenceSection
from ntl_jax.config.sections.engines import PoolSection, VllmSection
from ntl_jax.config.sections.ntl import NTLSection, RewardSection
from ntl_jax.config.sections.prompt import JINJA, QUESTION, PromptSection
from ntl_jax.config.sections.run import (
    ModelSection,
    RolloutSection,
    RunConfig,
    TrackingSection,
    TrainerSection,
    WarmStartSection,
)
from ntl_jax.config.serialization import changed, flatten, from_dict
from ntl_jax.config.stored import CONFIG_FILE, FORMAT, OF_GROUP, config_to_json, holds_run, stored_config
from ntl_jax.config.tau_schedule import parse_schedule
from ntl_jax.config.validation import EMPTY, named

__all__ = [
    "CONFIG_FILE",
    "EMPTY",
    "FORMAT",
    "GYM",
    "HUB_NAME",
    "JINJA",
    "LFS_POINTER",
    "MOST_PROBLEMS",
    "OF_GROUP",
    "QUESTION",
    "AlgorithmSection",
    "AnswerSection",
    "CispoSection",
    "ClippedSection",
    "CorrectionSection",
    "DataSection",
    "DivergenceSection",
    "FieldsSection",
    "GspoSection",
    "KLSection",
    "ModelSection",
    "NTLSection",
    "Operation",
    "OptimizerSection",
    "PoolSection",
    "PromptSection",
    "RewardSection",
    "RolloutSection",
    "RunConfig",
    "SapoSection",
    "TrackingSection",
    "TrainerSection",
    "VllmSection",
    "WarmStartSection",
    "changed",
    "config_to_json",
    "flatten",
    "from_dict",
    "from_home",
    "holds_run",
    "is_own",
    "named",
    "parse_schedule",
    "printable",
    "read_escapes",
    "several_in_one",
    "stored_config",
    "write_escapes",
]

# SPDX-License-Identifier: Apache-2.0
"""The group that a command's settings and its environment name. Loads nothing heavy."""

import itertools
import os
from collections.abc import Sequence

from ntl_jax.config import OF_GROUP, TrainerSection
from ntl_jax.processes.group import Group, find_group, is_on_tpu


def group_of(trainer: TrainerSection) -> Group | None:
    """The processes that train together by the settings; None: this one alone.

    Args:
        trainer: the section of the configuration.

    Raises:
        ValueError: as `find_group`.

    Example:
        >>> group_of(TrainerSection(distributed="off")) is None
        True
    """
    settings = {name: getattr(trainer, name) for name in OF_GROUP}
    return find_group(trainer.distributed, os.environ, **settings, on_tpu=is_on_tpu())


def group_in(argv: Sequence[str]) -> Group | None:
    """The processes that would train together by a command line that may be wrong otherwise; None: none are named.

    Args:
        argv: options of the form ``--config.trainer.NAME=VALUE`` or ``--config.trainer.NAME VALUE``.

    Example:
        >>> argv = ["--oops", "--config.trainer.coordinator=a:1", "--config.trainer.num_processes", "2",
        ...         "--config.trainer.process-id=1"]
        >>> group_in(argv).process_id
        1
    """
    words = [word for option in argv for word in option.split("=", 1)]
    given = {name.replace("-", "_").replace("__", "--", 1): value for name, value in itertools.pairwise(words)}
    distributed, coordinator, *numbers = (given.get(f"--config.trainer.{name}") for name in ("distributed", *OF_GROUP))
    try:
        count, number = (None if text is None else int(text) for text in numbers)
        group = find_group(
            distributed or "auto",
            os.environ,
            coordinator=coordinator,
            num_processes=count,
            process_id=number,
            on_tpu=is_on_tpu(),
        )
    except ValueError:
        return None
    return group

# SPDX-License-Identifier: Apache-2.0
"""What several processes that train together must have alike: settings and data. All must call these functions."""

from collections.abc import Mapping

from ntl_jax.config import OF_GROUP, RunConfig, flatten
from ntl_jax.processes.exchange import gather

OWN = (*(f"trainer.{name}" for name in OF_GROUP), "trainer.compilation_cache", "trainer.heartbeat_timeout_s")
"""Settings in which processes may differ."""


def check_alike(config: RunConfig, **options: object) -> None:
    """Raises unless all processes have the same settings.

    Args:
        config: the configuration.
        options: further options of the command.

    Raises:
        ValueError: naming the first process that differs, and how.

    Example:
        >>> check_alike(RunConfig(), resume=True)
    """
    settings = {name: value for name, value in flatten(config).items() if name not in OWN} | options
    first, *others = gather(settings)
    for number, other in enumerate(others, 2):
        differing = [f"{name}={other[name]!r} (not {first[name]!r})" for name in first if other[name] != first[name]]
        if differing:
            raise ValueError(
                f"process {number} of {len(others) + 1} has other settings than the first: {', '.join(differing)}: "
                "start all of them with the same ones"
            )


def check_same_data(found: Mapping[str, str]) -> None:
    """Raises unless all processes read the same contents, which may differ where disks are not shared.

    Args:
        found: hashes of the contents, by the setting that names them.

    Raises:
        ValueError: naming the first process that differs, and the settings.

    Example:
        >>> check_same_data({"data.train": "03bc"})
    """
    first, *others = gather(dict(found))
    for number, other in enumerate(others, 2):
        if differing := [name for name in first if other.get(name) != first[name]]:
            raise ValueError(
                f"process {number} of {len(others) + 1} reads other contents of {', '.join(differing)} than the first: "
                "give all of them the same files, such as on a file system that they share"
            )

# SPDX-License-Identifier: Apache-2.0
"""Which GPUs train and which sample, where both are on one machine."""

import os
import pathlib
from collections.abc import Iterable, Sequence

from ntl_jax.rollout.pool.worker import Identity

VISIBLE = "CUDA_VISIBLE_DEVICES"


def gpus_here() -> list[str]:
    """The GPUs that this process may use, by the numbers or names that ``CUDA_VISIBLE_DEVICES`` takes."""
    if (visible := os.environ.get(VISIBLE)) is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    numbered = pathlib.Path("/dev").glob("nvidia[0-9]*")
    return sorted((path.name.removeprefix("nvidia") for path in numbered), key=int)


def gpus_for_workers(training: Sequence[int], needed: float) -> list[str]:
    """The GPUs of this machine that do not train.

    Args:
        training: indices among `gpus_here`, ``trainer.devices``.
        needed: number that the workers need.

    Raises:
        ValueError: if there are fewer than that, or it is not said which ones train.

    Example:
        >>> gpus_for_workers((), 0)
        []
    """
    if not needed:
        return []
    here = gpus_here()
    if here and not training:
        raise ValueError(
            f"rollout.pool.gpus_per_worker takes GPUs of this machine, which has {len(here)}: say which ones train, "
            "as in trainer.devices 0; the others sample"
        )
    others = [name for index, name in enumerate(here) if index not in training]
    if len(others) < needed:
        raise ValueError(
            f"the pool's workers need {needed:g} GPUs, and {len(others)} of this machine's {len(here)} do not train: "
            "lower rollout.pool.workers or gpus_per_worker, name fewer trainer.devices, or give rollout.pool.address"
        )
    return others


def check_apart(workers: Iterable[Identity], host: str, training: Iterable[str]) -> None:
    """Raises if a worker was given a GPU that trains, as Ray does in a cluster that was started without regard to it.

    Args:
        workers: the workers.
        host: where the trainer runs.
        training: the trainer's GPUs.

    Raises:
        ValueError: naming the GPUs.
    """
    sampling = {gpu for worker in workers if worker.host == host for gpu in worker.gpus}
    if both := sampling & set(training):
        raise ValueError(
            f"GPUs {', '.join(sorted(both))} would train and sample: start this machine's Ray with {VISIBLE} set to "
            "the other GPUs"
        )

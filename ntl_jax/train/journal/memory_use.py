# SPDX-License-Identifier: Apache-2.0
"""What the memory of a run goes to, for the answer when there is too little: estimates, from settings alone."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ntl_jax.config import RunConfig
from ntl_jax.train.policy import Policy
from ntl_jax.update.memory import PassSize, step_bytes

OUT_OF_MEMORY = re.compile(r"RESOURCE_EXHAUSTED|out of memory|bad_alloc|cannot allocate memory", re.IGNORECASE)
"""What XLA, CUDA and the C++ library say."""
ABOUT_THIS_PROCESS = ("builtins", "jax", "jaxlib", "torch")
"""Packages of errors that are about the memory of this process. Those of a reward function, or of a pool that has lost
its workers, say the same of another one's."""
ASKED = re.compile(r"allocat\w+ (?P<amount>[\d.]+ ?(?:[KMGT]i?B|bytes)?)")
GIB = 2**30


class OutOfMemoryError(RuntimeError):
    """There was too little memory; the message says what it went to, and what to lower."""


class Use(NamedTuple):
    """A part of the memory.

    Args:
        what: it is.
        num_bytes: on all devices together.
        remedies: settings that make it smaller, the most harmless first; empty: there is none.
    """

    what: str
    num_bytes: int
    remedies: Sequence[str] = ()


@contextlib.contextmanager
def explained(uses: Sequence[Use]) -> Iterator[None]:
    """Errors of JAX and PyTorch that say that memory is exhausted end this context as an OutOfMemoryError.

    Example:
        >>> with explained([Use("weights", 3 * GIB), Use("activations", 5 * GIB, ["lower x=8"])]):
        ...     raise MemoryError("bad_alloc")
        Traceback (most recent call last):
        ...
        ntl_jax.train.journal.memory_use.OutOfMemoryError: out of memory; memory goes to activations (5.00 GiB) and
        weights (3.00 GiB), estimated from the settings: lower x=8
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _is_exhausted(error):
            raise
        raise OutOfMemoryError(describe(uses, str(error))) from error


def describe(uses: Sequence[Use], message: str = "") -> str:
    """One line: out of memory; how much was asked for, what memory goes to, and which setting to turn first.

    Args:
        uses: of the memory.
        message: of the library whose allocation failed.
    """
    found = ASKED.search(message)
    asked = f" when allocating {_amount(found['amount'].strip())}" if found else ""
    largest = sorted(uses, key=lambda use: -use.num_bytes)
    *parts, last = [f"{use.what} ({use.num_bytes / GIB:.2f} GiB)" for use in largest if use.num_bytes]
    remedies = [remedy for use in largest for remedy in use.remedies]
    first, *others = remedies or ["use a smaller model"]
    then = f"; if that is not enough, {', '.join(others)}" if others else ""
    together = f"{', '.join(parts)} and {last}" if parts else last
    return f"out of memory{asked}; memory goes to {together}, estimated from the settings: {first}{then}"


def training_uses(config: RunConfig, policy: Policy, *, copies: int, cache_bytes: int, row_size: int) -> list[Use]:
    """The parts of a run's memory.

    Args:
        config, policy: of the run.
        copies: arrays of the parameters' size in an update, with the weights themselves.
        cache_bytes: of the engine's caches on the training devices.
        row_size: tokens of the longest prompt and response.
    """
    model, trainer, rollout = policy.model, config.trainer, config.rollout
    weights = weight_bytes(policy)
    tokens = max(trainer.max_tokens_per_micro_batch, row_size)
    samples = rollout.prompts_per_step * rollout.num_samples
    tokens = min(tokens, max(samples // config.algorithm.minibatches, config.warm_start.batch_size) * row_size)
    rows = max(1, tokens // row_size)
    size = PassSize(rows, row_size, row_size, rows, rollout.max_tokens)
    on_device = step_bytes(model, policy.mesh.shape, size, num_parts=1, platform=policy.mesh.devices.flat[0].platform)
    activations = (sum(on_device) - on_device.gradients) * policy.mesh.size
    smaller = []
    if tokens > row_size:
        lower = max(row_size, tokens // 4)
        smaller.append(f"lower trainer.max_tokens_per_micro_batch={trainer.max_tokens_per_micro_batch} to {lower}")
    if model.remat != "layer":
        smaller.append("set model.remat='layer'")
    less_cache = [f"lower rollout.slots={rollout.slots or samples}"] if rollout.engine == "jax" else []
    light = [] if config.algorithm.optimizer.name == "adafactor" else ["set algorithm.optimizer.name='adafactor'"]
    half = ["set model.param_dtype='bfloat16'"] if model.param_dtype == "float32" else []
    return [
        Use("weights", weights, half),
        Use("gradients and the optimizer's moments", (copies - 1) * weights, light),
        Use("the engine's cache", cache_bytes, less_cache),
        Use(f"activations of a micro-batch of {tokens:,} tokens", activations, smaller),
    ]


def sampling_uses(config: RunConfig, policy: Policy, cache_bytes: int) -> list[Use]:
    """The parts of the memory where a policy only samples."""
    lower = f"lower rollout.max_tokens={config.rollout.max_tokens}"
    return [Use("weights", weight_bytes(policy)), Use("the engine's cache", cache_bytes, [lower])]


def weight_bytes(policy: Policy) -> int:
    """Of the policy's weights, on all devices together."""
    return policy.model.num_params * np.dtype(jnp.dtype(policy.model.param_dtype)).itemsize * policy.mesh.shape["data"]


def _amount(text: str) -> str:
    """An amount of memory for people: XLA names bytes in some messages, and GiB in others."""
    number = text.removesuffix("bytes").strip()
    return f"{int(number) / GIB:,.2f} GiB" if number.isdecimal() else text


def _is_exhausted(error: RuntimeError) -> bool:
    """Of memory: XLA calls a full disk exhausted too."""
    text = str(error)
    is_here = type(error).__module__.partition(".")[0] in ABOUT_THIS_PROCESS
    return is_here and bool(OUT_OF_MEMORY.search(text)) and os.strerror(errno.ENOSPC) not in text

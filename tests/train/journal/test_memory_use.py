# SPDX-License-Identifier: Apache-2.0
"""Where memory is short, the answer names what it goes to and the setting to turn first."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from ntl_jax.train import RewardError, WorkersLostError
from ntl_jax.train.journal.memory_use import (
    GIB,
    OutOfMemoryError,
    Use,
    describe,
    explained,
    training_uses,
)


def test_an_allocation_that_fails_is_answered_with_the_parts(capfd):
    uses = [Use("weights", GIB), Use("activations", 2 * GIB, ["lower x=8", "set y"]), Use("the cache", 0, ["lower z"])]
    with pytest.raises(OutOfMemoryError) as error, explained(uses):
        jnp.zeros(2**56, jnp.int8).block_until_ready()
    assert "memory goes to activations (2.00 GiB) and weights (1.00 GiB), estimated" in str(error.value)
    assert str(error.value).endswith("lower x=8; if that is not enough, set y, lower z")
    assert "out of memory when allocating 67,108,864.00 GiB;" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "error",
    [
        RewardError("the reward function failed on every sample: CUDA out of memory"),
        WorkersLostError("a worker died: std::bad_alloc"),
        RuntimeError("no workers"),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: writing failed: No space left on device"),
        jax.errors.JaxRuntimeError("INTERNAL: a kernel failed"),
    ],
)
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as raised, explained([Use("weights", 1)]):
        raise error
    assert raised.value is error


def test_memory_that_python_lacks_is_explained_too():
    with pytest.raises(OutOfMemoryError, match="weights"), explained([Use("weights", 1)]):
        raise MemoryError


@pytest.mark.parametrize(
    ("message", "asked"),
    [
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 2.10GiB.", "allocating 2.10GiB;"),
        ("Out of memory allocating 17179869184 bytes.", "allocating 16.00 GiB;"),
        ("std::bad_alloc", "out of memory;"),
    ],
)
def test_the_size_that_was_asked_for_is_told_where_the_library_tells_it(message, asked):
    assert asked in describe([Use("weights", 1)], message)


def test_what_a_run_needs_is_named_with_its_settings(setup):
    config = dataclasses.replace(
        setup.config, trainer=dataclasses.replace(setup.config.trainer, max_tokens_per_micro_batch=400)
    )
    uses = training_uses(config, setup.policy, copies=4, cache_bytes=77, row_size=100)
    by_name = {use.what: use for use in uses}
    weights = 4 * setup.policy.model.num_params
    assert by_name["weights"].num_bytes == weights
    assert by_name["gradients and the optimizer's moments"].num_bytes == 3 * weights
    assert by_name["the engine's cache"] == Use("the engine's cache", 77, ["lower rollout.slots=16"])
    activations = by_name["activations of a micro-batch of 400 tokens"]
    assert activations.remedies[0] == "lower trainer.max_tokens_per_micro_batch=400 to 100"

# SPDX-License-Identifier: Apache-2.0
"""The engine of several processes; in one process, it passes everything on."""

import numpy as np
import pytest

from ntl_jax.processes.exchange import num_processes
from ntl_jax.records import Params, Request, Sampling, Version, Weights
from ntl_jax.rollout.dealt import DealtEngine
from tests.samples import answering, ask


@pytest.mark.parametrize("shared", [True, False])
def test_every_request_is_sampled_once_from_the_prepared_weights(shared):
    inner = answering(lambda request, sample: f"{request.prompt.index}-{sample}")
    prepared: list[Params] = []
    engine = DealtEngine(inner, lambda params: prepared.append(params) or params, shared=shared)
    params: Params = {"x": np.zeros(1)}  # pyright: ignore[reportAssignmentType]
    with engine.lending(Weights(Version(3), params)):
        engine.publish(Weights(Version(3), params))  # again: nothing is prepared
        assert engine.lent
        engine.submit([Request(ask(i), Sampling(num_samples=2, max_tokens=8), seed=0) for i in range(5)])
        assert engine.unfinished == 5
        groups = list(engine.results())
    assert num_processes() == 1
    assert sorted(group[0].prompt_index for group in groups) == list(range(5))
    assert [engine.unfinished, engine.lent, len(prepared)] == [0, False, 1]
    engine.close()
    assert inner.closed

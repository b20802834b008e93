# SPDX-License-Identifier: Apache-2.0
"""Prefill puts prompts where they belong, whether layers are stacked or not."""

import dataclasses

import jax
import numpy as np
from flax import nnx

from ntl_jax.models import Decoder
from ntl_jax.models.stacking import stacked
from ntl_jax.rollout.jax.decode import PAGE
from ntl_jax.rollout.jax.prefill import prefill


def test_prompts_of_groups_past_the_last_are_dropped(decoder, geometry, caches):
    empty, _ = caches()
    zeros = jax.tree.map(np.asarray, empty)
    ids = np.ones((1, PAGE), np.int32)
    filled = prefill(geometry, nnx.split(decoder)[1], empty, ids, np.array([2]), np.array([0]))
    jax.tree.map(np.testing.assert_array_equal, filled, zeros)


def test_stacked_layers_write_the_keys_and_values_of_separate_ones(decoder, geometry, caches):
    ids = np.arange(PAGE, dtype=np.int32)[None]
    where, params = (np.array([1]), np.array([0])), nnx.state(decoder, nnx.Param)
    expected = prefill(geometry, params, caches()[0], ids, *where)
    config = dataclasses.replace(decoder.config, scan_layers=True)
    graph = nnx.split(nnx.eval_shape(lambda: Decoder(config, rngs=nnx.Rngs(0))), nnx.Param)[0]
    found = prefill(dataclasses.replace(geometry, graph=graph), stacked(params), caches()[0], ids, *where)
    assert any(np.any(x) for x in jax.tree.leaves(found))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, expected)

# SPDX-License-Identifier: Apache-2.0
"""The smallest shapes for the engine's programs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from ntl_jax.models import make_mesh
from ntl_jax.rollout.jax.cache import Cache, CacheShape, cache_sharding, empty_cache
from ntl_jax.rollout.jax.decode import PAGE, Geometry
from ntl_jax.rollout.jax.sampler.sample import Method

GREEDY = Method(greedy=True, truncated=False, capture_digits=False, capture_entropy=False, capture_alternatives=False)


@pytest.fixture(scope="session")
def geometry(decoder) -> Geometry:
    """Two groups of one slot, each with one place for prompts of up to a page."""
    sharding = cache_sharding(make_mesh((1, 1, 1), jax.devices()[:1]), decoder.config.num_kv_heads)
    return Geometry(nnx.split(decoder)[0], 2, 1, 1, (PAGE,), (PAGE,), jnp.dtype(jnp.float32), sharding, GREEDY)


@pytest.fixture
def caches(decoder, geometry) -> Callable[[], tuple[Cache, Cache]]:
    """Makes empty caches of prompts and of slots, which programs take over."""
    model = decoder.config
    shape = CacheShape(2, (PAGE,), model.num_layers, model.num_kv_heads, model.head_dim, geometry.dtype)
    return lambda: (empty_cache(shape, geometry.sharding), empty_cache(shape, geometry.sharding))

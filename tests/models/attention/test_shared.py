# SPDX-License-Identifier: Apache-2.0
"""Responses that share their prompt's keys attend as in a row of their own."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import ClosedJaxpr

from ntl_jax.models.attention.rows import causal_attention, causal_mask
from ntl_jax.models.attention.shared import shared_attention

LENGTHS, PROMPT, SAMPLES, RESPONSE = np.array([5, 2, 0]), 5, 3, 7
IN_PROMPT = jnp.arange(PROMPT)[None] >= PROMPT - LENGTHS[:, None]


def random_qkv(num_heads: int = 4, num_kv_heads: int = 2, head_dim: int = 8):
    rng, size = np.random.default_rng(0), PROMPT + SAMPLES * RESPONSE
    shapes = [(len(LENGTHS), size, heads, head_dim) for heads in (num_heads, num_kv_heads, num_kv_heads)]
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def in_rows_of_their_own(q, k, v):
    """A dense mask over [prompt, response], for each response; the prompt's part is that of the first response."""
    ids = jnp.concatenate([IN_PROMPT, jnp.ones((len(LENGTHS), RESPONSE), bool)], axis=1).astype(jnp.int32)
    mixed = []
    for sample in range(SAMPLES):
        own = slice(PROMPT + sample * RESPONSE, PROMPT + (sample + 1) * RESPONSE)
        own_q, own_k, own_v = (jnp.concatenate([x[:, :PROMPT], x[:, own]], axis=1) for x in (q, k, v))
        mixed.append(causal_attention(own_q, own_k, own_v, causal_mask(ids)))
    return jnp.concatenate([mixed[0][:, :PROMPT], *(x[:, PROMPT:] for x in mixed)], axis=1)


@pytest.mark.parametrize("long_row", [100, 3])
def test_values_and_gradients_are_those_of_rows_with_a_prompt_each(long_row):
    """Where tokens are; gradients to the prompt's keys and values are the sum over its responses."""
    counts = jnp.concatenate([IN_PROMPT, jnp.ones((len(LENGTHS), SAMPLES * RESPONSE), bool)], axis=1)
    attend, qkv = shared_attention("xla", IN_PROMPT, SAMPLES, long_row=long_row), random_qkv()

    def run(attend):
        def value(*qkv):
            mixed = jnp.where(counts[..., None, None], attend(*qkv), 0.0)
            return jnp.sum(jnp.sin(mixed)), mixed

        return jax.jit(jax.value_and_grad(value, (0, 1, 2), has_aux=True))(*qkv)

    (_, found), gradients = run(attend)
    (_, expected), by_hand = run(in_rows_of_their_own)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    for gradient, reference in zip(gradients, by_hand, strict=True):
        np.testing.assert_allclose(gradient, reference, atol=5e-6)


def smallest_factors(attend) -> set[int]:
    """Number of entries of the smaller factor of each product in a function of random queries, keys and values."""

    def products(jaxpr) -> Iterator[Any]:
        for equation in jaxpr.eqns:
            if equation.primitive.name == "dot_general":
                yield equation
            for parameter in equation.params.values():
                if isinstance(parameter, ClosedJaxpr):
                    yield from products(parameter.jaxpr)

    closed = jax.make_jaxpr(attend)(*random_qkv())
    return {min(x.aval.size for x in product.invars) for product in products(closed.jaxpr)}


def test_products_read_a_prompts_keys_once_for_all_of_its_responses():
    """Keys and values of three prompts, and of nine responses; two heads of size 8 each."""
    of_prompts, of_responses = 3 * PROMPT * 2 * 8, 3 * SAMPLES * RESPONSE * 2 * 8
    assert smallest_factors(shared_attention("xla", IN_PROMPT, SAMPLES)) == {of_prompts, of_responses}
    assert smallest_factors(in_rows_of_their_own) == {3 * (PROMPT + RESPONSE) * 2 * 8}


def test_one_softmax_stays_exact_however_far_apart_the_scores_are():
    q, k, v = random_qkv()
    scaled = 1e3 * q
    attend = jax.jit(shared_attention("xla", IN_PROMPT, SAMPLES))
    np.testing.assert_allclose(attend(scaled, k, v)[0], in_rows_of_their_own(scaled, k, v)[0], atol=2e-5)
    gradients = jax.jit(jax.grad(lambda *qkv: jnp.sum(attend(*qkv)), (0, 1, 2)))(scaled, k, v)
    assert all(np.all(np.isfinite(x)) for x in gradients)

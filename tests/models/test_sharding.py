# SPDX-License-Identifier: Apache-2.0
"""Where parameters lie, and that it changes nothing but that."""

import contextlib
import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from ntl_jax.config import OptimizerSection
from ntl_jax.host_memory import machine_bytes
from ntl_jax.models import Decoder, ModelConfig, batch_sharding, make_mesh, shardings
from ntl_jax.models.sharding import RULES, free_bytes, gathered, head_spread
from ntl_jax.ops import vocab_head
from ntl_jax.update.optimizer import make_optimizer
from ntl_jax.update.state import init_params

CONFIG = ModelConfig(vocab_size=64, num_layers=1, width=32, num_heads=4, num_kv_heads=2, head_dim=8, feed_forward=64)


def params_of(**changes):
    config = dataclasses.replace(CONFIG, **changes)
    return nnx.split(nnx.eval_shape(lambda: Decoder(config, rngs=nnx.Rngs(0))), nnx.Param)[1]


def test_a_leaf_that_the_table_does_not_have_is_refused_and_never_replicated():
    router = {"layers": {0: {"router": jnp.ones((4, 4)), "up": jnp.ones((4, 4))}}}
    fix = r"unknown parameter 'router'; add a row for it .* to PARAMETERS in ntl_jax/models/parameters.py"
    for tree in (router, jax.eval_shape(optax.adam(1e-3).init, router)):
        with pytest.raises(ValueError, match=rf"\['layers'\]\[0\]\['router'\]: {fix}") as error:
            shardings(tree, make_mesh((2, 2, 2)))
        assert "'up'" not in str(error.value)
    with pytest.raises(ValueError, match="unknown parameter None"):
        shardings([jnp.ones(4)], make_mesh((2, 2, 2)))


@pytest.mark.parametrize(
    "tree",
    [
        {"layers": {"up": jnp.ones((3, 4, 4))}},  # layers stacked on each other
        {"query_bias": jnp.ones(8)},
        {"embedding": jnp.ones((1, 8, 4))},
    ],
)
def test_a_parameter_with_other_axes_than_the_table_has_is_refused(tree):
    with pytest.raises(ValueError, match=r"\d axes, PARAMETERS in .* has 2 for '\w+': \w+, \w+"):
        shardings(tree, make_mesh((2, 2, 2)))


@pytest.mark.parametrize("name", ["adamw", "adafactor", "muon"])
def test_only_scalars_constants_and_reduced_statistics_of_an_optimizer_are_replicated(name):
    params, mesh = params_of(width=128, vocab_size=128, feed_forward=256), make_mesh((1, 2, 2))
    moments = jax.eval_shape(make_optimizer(OptimizerSection(name=name), total_steps=10).init, params)
    placed = zip(jax.tree.leaves_with_path(moments), jax.tree.leaves(shardings(moments, mesh)), strict=True)
    replicated = {jax.tree_util.keystr(path): leaf for (path, leaf), where in placed if where.is_fully_replicated}
    known = (".count", ".ns_coeffs", ".v_row", ".v_col", ".v[", "['scale']")
    assert {path for path in replicated if not any(word in path for word in known)} == set()
    assert max(leaf.size for leaf in replicated.values()) <= 256


def test_optimizer_moments_lie_where_their_parameters_lie():
    params, mesh = params_of(), make_mesh((2, 2, 2))
    placed = shardings(jax.eval_shape(optax.adamw(1e-3).init, params), mesh)[0]
    assert placed.count.spec == P()
    assert jax.tree.leaves(placed.mu) == jax.tree.leaves(shardings(params, mesh))


def test_sizes_that_do_not_divide_are_all_reported_with_parameter_axis_and_sizes():
    with pytest.raises(ValueError) as error:
        shardings(params_of(width=36, feed_forward=60), make_mesh((1, 8, 1)))
    assert "['embedding'].value: axis 1 (width) of size 36 over fsdp=8" in str(error.value)
    assert "['gate'].value: axis 0 (width) of size 36 over fsdp=8" in str(error.value)


def test_few_key_value_heads_are_replicated_over_tensor_shards_and_nothing_else_is():
    mesh = make_mesh((1, 1, 4))
    specs = {p[-2].key: s.spec for p, s in jax.tree.leaves_with_path(shardings(params_of(), mesh))}
    assert specs["key"] == P("fsdp", None, None)
    assert specs["query"] == P("fsdp", "tensor", None)
    with pytest.raises(ValueError, match=r"\['query'\].value: axis 1 \(heads\) of size 2 over tensor=4"):
        shardings(params_of(num_heads=2), mesh)


@pytest.mark.parametrize(("shape", "sizes"), [((-1, 1, 1), (8, 1, 1)), ((2, -1, 2), (2, 2, 2)), ((1, 1, 1), (1, 1, 1))])
def test_one_size_may_be_left_open_and_devices_may_stay_idle(shape, sizes):
    assert tuple(make_mesh(shape).shape.values()) == sizes


@pytest.mark.parametrize("shape", [(16, 1, 1), (3, -1, 1)])
def test_a_mesh_that_does_not_fit_the_devices_is_refused(shape):
    with pytest.raises(ValueError, match="does not fit 8 devices"):
        make_mesh(shape)


def test_parameters_are_created_where_they_belong():
    mesh = make_mesh((1, 4, 2))
    _, params = init_params(lambda rngs: Decoder(CONFIG, rngs=rngs), 0, mesh)
    assert jax.tree.map(lambda x: x.sharding, params) == shardings(params, mesh)
    _, alone = init_params(lambda rngs: Decoder(CONFIG, rngs=rngs), 0, make_mesh((1, 1, 1)))
    jax.tree.map(np.testing.assert_array_equal, params, alone)


def test_two_axes_of_a_parameter_on_one_axis_of_the_mesh_are_refused():
    with pytest.raises(
        ValueError, match=r"\['gate'\].value: axis 1 \(feed_forward\) over fsdp, where another of its axes"
    ):
        shardings(params_of(), make_mesh((1, 2, 2)), dict(RULES) | {"feed_forward": "fsdp"})


WIDE = dataclasses.replace(CONFIG, vocab_size=96, num_layers=2, num_heads=8, tie_embeddings=False)
"""Eight query heads, so that they can lie on eight devices; two key/value heads, which then cannot."""


@pytest.fixture(scope="module")
def problem():
    graph, params = nnx.split(Decoder(WIDE, rngs=nnx.Rngs(0)), nnx.Param)
    tokens = np.random.default_rng(0).integers(0, WIDE.vocab_size, (8, 17))

    def loss(params, tokens):
        decoder = nnx.merge(graph, params)
        hidden, targets = decoder(tokens[:, :-1]), tokens[:, 1:]
        head, spread = decoder.head(), head_spread(hidden, WIDE.vocab_size)
        return -jnp.mean(vocab_head(hidden, head, targets, jnp.arange(0), chunk_size=64, spread=spread).log_probs)

    step = jax.value_and_grad(loss)
    return step, params, tokens, jax.jit(step)(params, tokens)


@pytest.mark.parametrize("constrained", [False, True], ids=["bare", "set_mesh"])
@pytest.mark.parametrize("shape", [(8, 1, 1), (1, 8, 1), (1, 4, 2), (2, 2, 2), (1, 1, 8)], ids=str)
def test_every_mesh_gives_the_loss_and_gradients_of_one_device(problem, shape, constrained):
    step, params, tokens, (expected, gradients) = problem
    mesh = make_mesh(shape)
    placed = jax.device_put((params, tokens), (shardings(params, mesh), batch_sharding(mesh)))
    with jax.set_mesh(mesh) if constrained else contextlib.nullcontext():
        actual, sharded_gradients = jax.jit(step)(*placed)
    np.testing.assert_allclose(actual, expected, rtol=2e-6)
    difference = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), sharded_gradients, gradients)
    assert norm(difference) <= 2e-6 * norm(gradients)


def test_under_a_mesh_the_head_is_gathered_over_fsdp_once_and_never_over_the_vocabulary(problem):
    step, params, tokens, _ = problem
    mesh = make_mesh((1, 4, 2))
    placed = jax.device_put((params, tokens), (shardings(params, mesh), batch_sharding(mesh)))

    def gathered() -> list[tuple[str, bool]]:
        """Shapes that are gathered, and whether that happens once a chunk."""
        text = str(jax.jit(step).lower(*placed).compile().as_text())
        found = re.findall(r"= f32\[([\d,]+)\]\S* all-gather\(.*op_name=\"([^\"]*)\"", text)
        return [(shape, "while" in name) for shape, name in found]

    assert any(each_chunk for _, each_chunk in gathered())
    with jax.set_mesh(mesh):
        shapes = gathered()
    assert [shape for shape, _ in shapes].count("48,32") == 1
    assert not any(each_chunk for _, each_chunk in shapes)
    assert not [shape for shape, _ in shapes if shape in ("96,32", "32,96") or shape.endswith(",96")]


def test_where_positions_lie_tells_the_compiler_to_sum_the_heads_gradient_once_and_not_once_a_chunk():
    mesh, config = make_mesh((1, 4, 2)), WIDE
    hidden, targets = jnp.ones((8, 16, config.width)), jnp.zeros((8, 16), int)
    rows = jnp.ones((config.vocab_size, config.width))
    where = batch_sharding(mesh), batch_sharding(mesh), NamedSharding(mesh, P("tensor", "fsdp"))

    def summed(*, is_spread: bool) -> list[bool]:
        """Of each sum of the head's shard over the vocabulary, whether it is taken once a chunk."""

        def loss(rows, hidden, targets):
            spread = head_spread(hidden, config.vocab_size) if is_spread else None
            head = gathered(rows, "vocab", "whole").T
            return -jnp.mean(vocab_head(hidden, head, targets, jnp.arange(0), chunk_size=64, spread=spread).log_probs)

        placed = jax.device_put((hidden, targets, rows), where)
        text = str(jax.jit(jax.grad(loss)).lower(placed[2], *placed[:2]).compile().as_text())
        sums = re.findall(r"= (.*) all-reduce\(.*op_name=\"([^\"]*)\"", text)
        return ["while" in name for shapes, name in sums if re.search(r"f32\[(1,)?48,\d+\]", shapes)]

    with jax.set_mesh(mesh):
        assert True in summed(is_spread=False)
        assert summed(is_spread=True) == [False]


def norm(tree) -> float:
    return float(np.sqrt(sum(np.sum(np.square(np.asarray(x, np.float64))) for x in jax.tree.leaves(tree))))


def test_devices_without_a_limit_share_the_memory_of_the_machine():
    assert free_bytes(make_mesh((2, 1, 1), jax.devices()[:2])) == machine_bytes()

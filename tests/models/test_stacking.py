# SPDX-License-Identifier: Apache-2.0
"""Stacked layers are the same layers: values, gradients, updates, samples, shardings; and one compiled layer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ntl_jax.config import OptimizerSection
from ntl_jax.models import Decoder, ModelConfig, hf_tensors, load_hf, make_mesh, save_hf, shardings
from ntl_jax.models.stacking import is_stacked, layer_arrays, num_layers_of, scans, stacked, unstacked
from ntl_jax.update.optimizer import make_optimizer
from ntl_jax.update.state import init_params

SEPARATE = ModelConfig(64, num_layers=3, width=32, num_heads=4, num_kv_heads=2, head_dim=8, feed_forward=64)
STACKED = dataclasses.replace(SEPARATE, scan_layers=True)
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 64, (2, 7)))


def split(config: ModelConfig) -> tuple[nnx.GraphDef, nnx.State]:
    return nnx.split(Decoder(config, rngs=nnx.Rngs(0)), nnx.Param)


@pytest.fixture(scope="module")
def separate():
    return split(SEPARATE)


def assert_close(actual, expected, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), actual, expected)


def loss(params, graph):
    decoder: Decoder = nnx.merge(graph, params)
    return jnp.mean(decoder(TOKENS) ** 3)


@pytest.mark.parametrize("compiled", [False, True], ids=["outside of a program", "in a program"])
def test_stacked_layers_begin_with_the_values_of_separate_ones(compiled):
    if compiled:
        mesh = make_mesh((1, 1, 1), jax.devices()[:1])
        one, other = (init_params(lambda rngs, c=c: Decoder(c, rngs=rngs), 5, mesh)[1] for c in (SEPARATE, STACKED))
    else:
        one, other = split(SEPARATE)[1], split(STACKED)[1]
    assert is_stacked(other) and not is_stacked(one)
    jax.tree.map(np.testing.assert_array_equal, stacked(one), other)


def test_unstacking_is_the_inverse_of_stacking_and_views_share_memory(separate):
    params = separate[1]
    again = stacked(params)
    assert num_layers_of(params) == num_layers_of(again) == 3
    jax.tree.map(np.testing.assert_array_equal, unstacked(again, 3), params)
    views = layer_arrays(again, 3)
    jax.tree.map(np.testing.assert_array_equal, views, params)
    whole, parts = nnx.to_pure_dict(again)["stack"], nnx.to_pure_dict(views)["layers"]
    of_all, second = (x["feed_forward"]["up"] for x in (whole, parts[1]))
    assert second.unsafe_buffer_pointer() == of_all.unsafe_buffer_pointer() + second.nbytes


@pytest.mark.parametrize("remat", ["none", "layer", "dots"])
def test_values_and_gradients_are_those_of_separate_layers(separate, remat):
    graph = split(dataclasses.replace(STACKED, remat=remat))[0]
    value_and_grad = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    expected, actual = value_and_grad(separate[1], separate[0]), value_and_grad(stacked(separate[1]), graph)
    assert_close((actual[0], unstacked(actual[1], 3)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "adafactor", "muon"])
def test_an_update_is_that_of_separate_layers(separate, name):
    """A stacked matrix is as many matrices, and each layer's update is clipped by its own RMS."""
    section = OptimizerSection(name=name, learning_rate=0.1, warmup_steps=0, weight_decay=0.1)
    optimizer = make_optimizer(section, total_steps=4)

    @jax.jit
    def updated(params, grads):
        state = optimizer.init(params)
        for _ in range(2):
            updates, state = optimizer.update(grads, state, params)
            params = optax.apply_updates(params, updates)
        return params

    scales = iter(np.random.default_rng(1).uniform(0.1, 10, 100))
    grads = jax.tree.map(lambda x: x * next(scales) + 0.1, separate[1])
    expected, actual = updated(separate[1], grads), updated(stacked(separate[1]), stacked(grads))
    assert_close(unstacked(actual, 3), expected, rtol=2e-4, atol=2e-5)


def test_a_program_of_stacked_layers_is_as_long_for_two_as_for_six():
    def num_lines(depth: int) -> int:
        graph, params = split(dataclasses.replace(STACKED, num_layers=depth))
        return jax.jit(jax.grad(loss), static_argnums=1).lower(params, graph).as_text().count("\n")

    assert num_lines(2) == num_lines(6)


def test_hugging_face_files_are_those_of_separate_layers_and_load_into_either(separate, tmp_path):
    separate_decoder = nnx.merge(*separate)
    decoder = Decoder(STACKED, rngs=nnx.Rngs(0))
    ours, expected = dict(hf_tensors(decoder)), dict(hf_tensors(separate_decoder))
    assert ours.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(ours[name], array)
    save_hf(decoder, tmp_path / "saved", max_shard_bytes=20_000)
    for scan_layers in (False, True):
        again = nnx.state(load_hf(tmp_path / "saved", scan_layers=scan_layers), nnx.Param)
        assert is_stacked(again) == scan_layers
        jax.tree.map(np.testing.assert_array_equal, unstacked(again, 3), separate[1])


@pytest.mark.parametrize("mesh_shape", [(2, 2, 2), (1, 4, 2)], ids=str)
def test_stacked_parameters_are_sharded_like_separate_ones(separate, mesh_shape, tmp_path):
    mesh, params = make_mesh(mesh_shape), stacked(separate[1])
    of_all, of_layer = (shardings(x, mesh)[key] for x, key in ((params, "stack"), (separate[1], "layers")))
    jax.tree.map(lambda one, other: np.testing.assert_equal(tuple(one.spec), (None, *other.spec)), of_all, of_layer[0])
    placed = jax.device_put(params, shardings(params, mesh))
    jax.tree.map(np.testing.assert_array_equal, layer_arrays(placed, 3), separate[1])
    save_hf(nnx.merge(*separate), tmp_path / "saved")
    loaded = nnx.state(load_hf(tmp_path / "saved", mesh=mesh, scan_layers=True), nnx.Param)
    jax.tree.map(np.testing.assert_array_equal, loaded, placed)
    graph = split(STACKED)[0]
    with jax.set_mesh(mesh):
        actual = jax.jit(loss, static_argnums=1)(placed, graph)
    np.testing.assert_allclose(actual, loss(separate[1], separate[0]), rtol=1e-4)


def test_auto_leaves_the_layers_of_the_default_run_separate():
    assert [scans("auto", depth) for depth in (2, 4, 24, 30)] == [False, False, True, True]
    assert scans("on", 1) and not scans("off", 99)

# SPDX-License-Identifier: Apache-2.0
"""Planned bytes of parameters, moments and caches are those that training and sampling allocate."""

import jax
import pytest

from ntl_jax.config import AlgorithmSection, OptimizerSection, RolloutSection
from ntl_jax.models import Critic, Decoder, make_mesh
from ntl_jax.plan.states import cache_bytes, caches, copy_bytes, device_bytes, engine_geometry, placed, train_state
from ntl_jax.rollout.jax.cache import empty_cache
from ntl_jax.update.state import init_model_state, init_params, init_train_state
from tests.planned import mesh_here, small_run


def bytes_here(tree) -> int:
    """Bytes of arrays on the first device."""
    first = jax.devices()[0]
    return sum(
        shard.data.nbytes
        for leaf in jax.tree.leaves(tree)
        for shard in leaf.addressable_shards
        if shard.device == first
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "algorithm"),
    [
        ({"mesh": (2, 2, 2)}, AlgorithmSection(optimizer=OptimizerSection(ema_decay=0.9))),
        ({"mesh": (1, 4, 2), "scan_layers": "on"}, AlgorithmSection(optimizer=OptimizerSection(name="adafactor"))),
        ({"mesh": (2, 4, 1)}, AlgorithmSection(advantage="gae")),
    ],
)
def test_a_state_takes_as_many_bytes_on_a_device_as_planned(model, algorithm):
    planned = small_run(model={"num_layers": 1, **model}, algorithm=algorithm)
    mesh, (state, learners) = mesh_here(planned), train_state(planned)
    create = {"policy": lambda rngs: Decoder(planned.model, rngs=rngs)}
    create["critic"] = lambda rngs: Critic(planned.model, rngs=rngs)  # pyright: ignore[reportArgumentType]
    models = {
        name: init_model_state(
            init_params(create[name], 0, mesh)[1], learner.optimizer, mesh, with_average=learner.ema_decay > 0
        )
        for name, learner in learners.items()
    }
    allocated = init_train_state(models, mesh)
    assert device_bytes(placed(state, planned.mesh)) == bytes_here(allocated)
    for name, own in state.models.items():
        assert device_bytes(placed(own.opt_state, planned.mesh)) == bytes_here(allocated.models[name].opt_state)


@pytest.mark.parametrize(("mesh", "slots"), [((1, 8, 1), None), ((2, 2, 2), 4), ((1, 2, 4), None)])
def test_the_caches_take_as_many_bytes_on_a_device_as_planned(mesh, slots):
    rollout = RolloutSection(prompts_per_step=8, num_samples=4, max_tokens=24, slots=slots)
    planned = small_run(model={"mesh": mesh}, rollout=rollout)
    here = mesh_here(planned)
    sharding = engine_geometry(planned, here).sharding
    allocated = [empty_cache(shape, sharding) for shape in caches(planned, here)]
    assert cache_bytes(planned) == bytes_here(allocated) > 0


@pytest.mark.parametrize(("mesh", "local"), [((1, 16, 1), (1, 4, 1)), ((2, 4, 2), (1, 2, 2)), ((4, 1, 4), (1, 1, 4))])
def test_each_process_of_a_slice_samples_from_a_copy_on_its_own_devices(mesh, local):
    planned = small_run(topology="v5e:4x4", model={"mesh": mesh}, rollout=RolloutSection(prompts_per_step=16))
    assert tuple(planned.sampling_mesh.shape.values()) == local
    params = init_params(lambda rngs: Decoder(planned.model, rngs=rngs), 0, make_mesh(local, jax.devices()[:4]))[1]
    assert copy_bytes(planned) == bytes_here(params)
    assert planned.slots == 4 * planned.config.rollout.num_samples


def test_there_is_no_copy_where_one_process_has_all_devices_or_each_device_has_all_weights():
    assert copy_bytes(small_run()) == copy_bytes(small_run(topology="v5e:2x4")) == 0
    rollout = RolloutSection(prompts_per_step=16)
    assert copy_bytes(small_run(topology="v5e:4x4", model={"mesh": (16, 1, 1)}, rollout=rollout)) == 0


def test_another_engine_has_no_cache_on_the_training_devices():
    assert cache_bytes(small_run(rollout=RolloutSection(engine="pool", prompts_per_step=4))) == 0

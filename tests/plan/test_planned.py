# SPDX-License-Identifier: Apache-2.0
"""Rows and micro-batches are those of training, and what cannot work is answered with the reason."""

import pytest

from ntl_jax.config import (
    AlgorithmSection,
    DataSection,
    ModelSection,
    RolloutSection,
    RunConfig,
    TrainerSection,
    VllmSection,
    WarmStartSection,
)
from ntl_jax.plan.chips import read_topology
from ntl_jax.plan.planned import plan_run
from tests.planned import small_run

QWEN = "Qwen/Qwen2.5-0.5B"


def test_rows_have_room_for_the_longest_prompt_and_response():
    planned = small_run()
    assert (planned.row_size, planned.response_size, planned.samples_per_update) == (48, 24, 8)
    assert planned.micro_batches == (1, 8) and planned.samples_per_row == 1


def test_a_shared_row_has_a_prompt_once_and_its_responses():
    planned = small_run(topology="h100:1", trainer=TrainerSection(row_layout="shared"))
    assert (planned.row_size, planned.samples_per_row, planned.micro_batches) == (24 + 4 * 24, 4, (1, 2))


def test_micro_batches_hold_as_many_tokens_as_the_setting_allows():
    planned = small_run(
        trainer=TrainerSection(row_layout="padded", max_tokens_per_micro_batch=8 * 24), topology="h100:1"
    )
    assert planned.micro_batches == (2, 4)


@pytest.mark.parametrize(
    ("mesh", "says"),
    [
        ((3, -1, 1), r"model.mesh=\(3, -1, 1\): mesh .* does not fit 16 devices"),
        ((2, 4, 4), r"does not fit 16 devices"),
        ((1, 8, 1), r"8 of the 16 devices of --topology=v5e:4x4 that train would stay idle"),
        ((1, 4, 4), r"14 heads do not divide over tensor=4: it may be 1, 2"),
        ((1, 1, 16), r"14 heads do not divide over tensor=16"),
    ],
)
def test_a_mesh_that_cannot_work_says_why(mesh, says):
    config = RunConfig(model=ModelSection(path=QWEN, mesh=mesh))
    with pytest.raises(ValueError, match=says) as error:
        plan_run(config, read_topology("v5e:4x4"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("topology", "changes", "says"),
    [
        ("v5p:8x8x8", {"warm_start": WarmStartSection(steps=0)}, "do not divide over fsdp=512"),
        ("v5e:4x4", {"rollout": RolloutSection(prompts_per_step=3)}, "rows of an update must divide over the 16"),
        ("v5e:4x4", {"rollout": RolloutSection(engine="vllm")}, "for which it needs GPUs"),
        ("v5e:4x4", {"trainer": TrainerSection(steps=0)}, "set it above 0"),
        ("h100:8", {"trainer": TrainerSection(devices=(0, 8))}, "has devices 0 to 7"),
        ("v5e:4x4", {"trainer": TrainerSection(devices=(0, 1))}, "the 4 hosts of --topology=v5e:4x4 run as many"),
        (
            "h100:8",
            {"rollout": RolloutSection(engine="vllm", vllm=VllmSection(tensor_parallel_size=16))},
            "has 8 GPUs: lower it",
        ),
        ("h100:8", {"data": DataSection(max_prompt_tokens=40_000)}, "max_prompt_tokens"),
        ("h100:8", {"algorithm": AlgorithmSection(minibatches=64)}, "rows of an update must divide"),
    ],
)
def test_settings_that_cannot_work_there_say_why(topology, changes, says):
    config = RunConfig(model=ModelSection(path=QWEN, mesh=(1, -1, 1)), **changes)
    with pytest.raises(ValueError, match=says):
        plan_run(config, read_topology(topology))


def test_devices_that_are_chosen_train_and_the_others_are_left_to_a_pool():
    planned = small_run(trainer=TrainerSection(devices=(0, 1), row_layout="padded"))
    assert planned.sizes == {"data": 1, "fsdp": 2, "tensor": 1}


def test_a_kernel_of_another_platform_is_refused():
    config = RunConfig(model=ModelSection(path=QWEN, mesh=(1, -1, 1), attention="cudnn"))
    with pytest.raises(ValueError, match="is a kernel for gpu, and this is tpu"):
        plan_run(config, read_topology("v5e:4x4"))

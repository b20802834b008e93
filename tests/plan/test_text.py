# SPDX-License-Identifier: Apache-2.0
"""A plan's lines say what takes how much, whether it fits, and how to start."""

import pytest

from ntl_jax.config import DataSection, RolloutSection
from ntl_jax.plan.chips import GIB
from ntl_jax.plan.compiled import Compiled
from ntl_jax.plan.memory import Memory, Part, plan_memory
from ntl_jax.plan.remedies import Remedy
from ntl_jax.plan.text import about_lines, compiled_lines, compiler, launch_command, remedy_lines, verdict, work_lines
from ntl_jax.plan.work import Phase
from tests.planned import small_run

MEMORY = Memory(
    (Part("parameters", GIB, GIB), Part("moments", 2 * GIB, 2 * GIB), Part("KV cache", 0, 5 * GIB)), 6 * GIB
)


def test_what_does_not_fit_is_named_with_the_kind_that_takes_most():
    assert verdict(MEMORY) == (
        "does not fit: sampling takes 2.00 GiB too much on a device, KV cache most of all (5.00 GiB)"
    )


def test_rows_that_get_no_kernel_on_a_tpu_are_pointed_at():
    assert "note: rows of 48 tokens get XLA's attention" in about_lines(small_run(topology="v5e:2x4"))[-1]
    assert not any(line.startswith("note") for line in about_lines(small_run()))


def test_the_processes_of_a_slice_are_said():
    several = small_run(topology="v5e:4x4", rollout=RolloutSection(prompts_per_step=16))
    assert "16 devices in 4 processes of 4, mesh" in about_lines(several)[1]
    assert "v5e:2x4: 8 devices, mesh" in about_lines(small_run(topology="v5e:2x4"))[1]


def test_attention_is_that_of_the_planned_chip_and_not_of_this_machine():
    rows = {"data": DataSection(max_prompt_tokens=104), "model": {"compute_dtype": "bfloat16", "head_dim": 64}}
    for topology, kernel in (("v5e:2x4", "splash"), ("h100:8", "cudnn")):
        assert about_lines(small_run(topology=topology, **rows))[2].endswith(f"attention {kernel}")


def test_the_least_time_of_an_iteration_is_the_sum_over_its_phases():
    lines = work_lines(small_run(model={"compute_dtype": "bfloat16"}), [Phase("update", 989e12, 0, 900e9)])
    assert "2.00 s  (links)" in lines[1] and lines[-1].split()[1] == "2.00"


def test_the_compiler_is_named_and_its_figure_stands_beside_the_arithmetic():
    assert compiler(small_run()) == "XLA's analysis on 8 CPU devices, not h100's compiler, GiB on a device"
    assert compiler(small_run(topology="v5e:2x4")).startswith("compiled by libtpu for v5e:2x4")
    fits, refused = Compiled("train", 3, 2 * GIB, 1.0), Compiled("decode", 3, None, None, "does not fit: Used 20G")
    lines = compiled_lines(small_run(), MEMORY, [fits, refused])
    assert "2.00   arithmetic 3.00 (+50%)" in lines[0] and "does not fit: Used 20G" in lines[1]


def test_where_nothing_fits_the_least_is_said():
    assert "the least is 8.00 of 6.00 GiB" in remedy_lines([], MEMORY)[0]
    assert "model.remat='layer': 8.00" in remedy_lines([Remedy({"model.remat": "layer"}, MEMORY)], None)[0]


@pytest.mark.parametrize(("topology", "start"), [("h100:8", "XLA_PYTHON_CLIENT_MEM_FRACTION=0.95 t"), ("v5e:2x4", "t")])
def test_the_command_has_the_options_that_were_given_and_the_changes(topology, start):
    given = {"--config": ["mine"], "--config.model.mesh": ["1", "-1", "1"], "--config.prompt.suffix": ["a b"]}
    planned = small_run(topology=topology)
    changes = {"model.mesh": (1, 8, 1), "model.remat": "layer"}
    assert launch_command("train", planned, plan_memory(planned), given, changes) == (
        f"{start}rain --config=mine --config.model.mesh 1 8 1 '--config.prompt.suffix=a b' --config.model.remat=layer"
    )

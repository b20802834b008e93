# SPDX-License-Identifier: Apache-2.0
"""The programs that are compiled ahead are those of the run, and the arithmetic is near what the compiler says."""

import pytest

from ntl_jax.config import AlgorithmSection, DataSection, KLSection, RolloutSection, TrainerSection
from ntl_jax.plan.compiled import compile_program
from ntl_jax.plan.memory import plan_memory
from ntl_jax.plan.programs import PROGRAMS, programs_of
from tests.planned import mesh_here, small_run

SHAPES = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 64, "width": 256, "feed_forward": 1024, "scan_layers": "on"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("topology", "model"),
    [
        ("h100:2", {"mesh": (1, 2, 1), "remat": "layer", "num_layers": 4}),
        ("h100:2", {"mesh": (2, 1, 1), "remat": "none", "num_layers": 6}),
        ("h100:1", {"mesh": (1, 1, 1), "remat": "dots", "num_layers": 3, "tie_embeddings": False}),
    ],
)
def test_the_arithmetic_is_within_15_percent_of_the_compilers_peak(topology, model):
    planned = small_run(
        topology=topology,
        model={**SHAPES, **model, "attention": "xla"},
        data=DataSection(max_prompt_tokens=64),
        rollout=RolloutSection(prompts_per_step=8, num_samples=8, max_tokens=64),
    )
    found = compile_program("train", planned, mesh_here(planned))
    assert found.bytes is not None
    assert plan_memory(planned).updating == pytest.approx(found.bytes, rel=0.15)


@pytest.mark.slow
def test_all_programs_of_a_run_with_a_critic_in_shared_rows_are_lowered():
    algorithm = AlgorithmSection(advantage="gae", old_log_probs="recompute", kl=KLSection(weight=0.1))
    planned = small_run(topology="h100:2", algorithm=algorithm, trainer=TrainerSection(row_layout="shared"))
    assert programs_of(planned) == list(PROGRAMS)
    mesh = mesh_here(planned)
    for name in programs_of(planned):
        assert "stablehlo" in PROGRAMS[name](planned, mesh).as_text()


def test_a_run_has_no_programs_of_what_it_does_not_do():
    assert programs_of(small_run()) == ["train", "decode", "prefill"]
    assert programs_of(small_run(rollout=RolloutSection(engine="pool", prompts_per_step=4))) == ["train"]

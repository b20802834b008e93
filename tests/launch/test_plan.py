# SPDX-License-Identifier: Apache-2.0
"""The command that plans a run: what it prints, and how it ends."""

import pytest

from launch import plan

SMALL = ("--config=gsm8k_ntl_qwen05b", "--programs=none")


def test_a_run_that_fits_ends_with_0_and_the_command_that_starts_it(capsys):
    assert plan.main([*SMALL, "--topology=h100:8", "--config.seed=3"]) == 0
    shown = capsys.readouterr().out
    assert "\nfits\n" in shown and "vLLM's share" in shown and "at least" in shown
    assert "python launch/train.py --config=gsm8k_ntl_qwen05b --config.seed=3\n" in shown


def test_a_run_that_does_not_fit_ends_with_3_and_what_would(capsys):
    options = ("--config.model.path=Qwen/Qwen2.5-7B", "--config.rollout.engine=jax", "--topology=v5e:4x4")
    assert plan.main([*SMALL, *options]) == 3
    shown = capsys.readouterr().out
    assert "does not fit: updating takes" in shown and "would fit with model.mesh=(1, " in shown
    assert "start it with: python launch/train.py" in shown and "--config.model.mesh 1 " in shown


def test_the_command_that_would_fit_leaves_jax_what_vllm_does_not_take(capsys):
    assert plan.main([*SMALL, "--topology=h100:8", "--config.rollout.vllm.gpu_memory_utilization=1"]) == 3
    shown = capsys.readouterr().out
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION=0.45 python" in shown and "gpu_memory_utilization=0.5" in shown


@pytest.mark.slow
def test_what_xla_says_on_cpu_is_named_so(capsys):
    sizes = ("--config.data.max_prompt_tokens=24", "--config.trainer.row_layout=padded", "--config.model.num_layers=1")
    assert plan.main(["--config=gsm8k_ntl", "--topology=h100:2", "--programs=decode", *sizes]) == 0
    shown = capsys.readouterr().out
    assert "XLA's analysis on 2 CPU devices, not h100's compiler" in shown and "decode" in shown

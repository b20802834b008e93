# SPDX-License-Identifier: Apache-2.0
"""Our own side of the comparison with other trainers makes a step, also where no other trainer is installed."""

import dataclasses

import numpy as np

from benchmarks.policy_files import Workload, write_files
from benchmarks.ppo_step import SMALL, ours


def test_our_trainer_steps_from_the_files_that_all_trainers_read(tmp_path):
    model = dataclasses.replace(SMALL, num_layers=1, width=16, num_heads=2, num_kv_heads=1, head_dim=8, feed_forward=32)
    files = write_files(model, tmp_path, Workload(num_prompts=2, num_samples=4, max_tokens=8, prompt_tokens=8))
    metrics, samples = ours(files)()
    assert len(samples.scored.trajectories) == 8 and np.isfinite(metrics["actor/grad_norm"])

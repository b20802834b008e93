# SPDX-License-Identifier: Apache-2.0
"""Estimates of an update's memory follow sizes, settings and mesh; how near they are: tests/plan/test_programs.py."""

import dataclasses

from ntl_jax.models import ModelConfig
from ntl_jax.update.memory import PassSize, activation_bytes, layer_params, step_bytes

MODEL = ModelConfig(vocab_size=512, num_layers=4, width=64, num_heads=4, num_kv_heads=2, head_dim=16, feed_forward=128)
SIZE = PassSize(num_rows=64, row_size=64, attended=64, num_responses=64, response_size=32)
ONE = {"data": 1, "fsdp": 1, "tensor": 1}


def test_recomputing_keeps_less():
    kept = [
        activation_bytes(dataclasses.replace(MODEL, remat=remat), SIZE, "cpu")[0] for remat in ("none", "dots", "layer")
    ]
    assert kept[0] > kept[1] > kept[2] == 4 * 64 * 64 * 64 * 4


def test_a_kernel_keeps_no_scores():
    half, size = dataclasses.replace(MODEL, compute_dtype="bfloat16"), SIZE._replace(row_size=128, attended=128)
    assert activation_bytes(half, size, "gpu") < activation_bytes(half, size, "cpu")


def test_devices_share_activations_and_gradients_and_gather_weights():
    model = dataclasses.replace(MODEL, vocab_size=4096)  # the peak is in the head, on one device and on four
    one = step_bytes(model, ONE, SIZE, num_parts=2, platform="cpu")
    spread = step_bytes(model, ONE | {"fsdp": 4}, SIZE, num_parts=2, platform="cpu")
    assert spread.gradients == one.gradients // 4 and spread.activations == one.activations // 4
    assert spread.weights > one.weights


def test_a_layer_has_its_share_of_the_parameters():
    deeper = dataclasses.replace(MODEL, num_layers=5)
    assert layer_params(MODEL) == deeper.num_params - MODEL.num_params

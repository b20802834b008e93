# SPDX-License-Identifier: Apache-2.0
"""The layout that costs least is chosen, and says what it costs."""

import dataclasses

import numpy as np
import pytest

from ntl_jax.models import ModelConfig
from ntl_jax.records import SharedRows
from ntl_jax.rows.layout import Layout, choose_kind, relative_cost, samples_together
from ntl_jax.rows.packing import padding_fraction
from ntl_jax.rows.padding import RowShape

MODEL = ModelConfig(vocab_size=64, num_layers=2, width=64, num_heads=2, num_kv_heads=1, head_dim=32, feed_forward=128)
SHAPE = RowShape(row=96, response=32)
PROMPTS = [np.array([5, 6, 7]), np.array([8])]
RESPONSES = [np.array([1, 2]), np.array([3]), np.arange(9), np.array([4, 0, 0])]
NUMBERS = [np.full(len(r), np.nan) for r in RESPONSES]


def shared(keep=None):
    prompts = [prompt for prompt in PROMPTS for _ in range(2)]
    rows, targets = Layout("shared", SHAPE, 2).rows(prompts, RESPONSES, numbers=NUMBERS, keep=keep)
    assert isinstance(rows, SharedRows)
    return rows, targets


def test_a_prompt_stands_once_before_its_responses():
    rows, targets = shared()
    assert rows.prompts[:, -4:].tolist() == [[0, 5, 6, 7], [0, 0, 0, 8]] and rows.prompts.shape == (2, 16)
    assert rows.prompt_lengths.tolist() == [3, 1] and rows.response_lengths.tolist() == [[2, 1], [9, 3]]
    assert rows.responses.shape == (2, 2, 16) and rows.shape == (2, 16 + 2 * 16)
    np.testing.assert_array_equal(rows.responses.reshape(4, 16), targets.ids)
    assert padding_fraction(rows) == pytest.approx(1 - (4 + 15) / (2 * 48))


def test_a_response_that_is_not_kept_has_an_empty_mask():
    _, targets = shared(keep=np.array([True, False, True, True]))
    assert targets.mask.sum(axis=1).tolist() == [2, 0, 9, 3]


def test_rows_never_mix_prompts():
    with pytest.raises(AssertionError, match="mix prompts"):
        Layout("shared", SHAPE, 2).rows([PROMPTS[0], PROMPTS[1]], RESPONSES[:2], numbers=NUMBERS[:2])


@pytest.mark.parametrize(
    ("draws", "samples_per_row"),
    [([3, 3, 3, 3], 4), ([3, 3, 5, 5], 2), ([3, 3, 3, 3, 5, 5], 2), ([3, 5, 7], 1), ([3, 3, 3, 5], 1), ([9], 1)],
)
def test_a_pass_over_other_samples_shares_what_follows_each_other(draws, samples_per_row):
    assert Layout("shared", SHAPE, 8).of_samples(draws).samples_per_row == samples_per_row


@pytest.mark.parametrize(
    ("rows", "samples", "max_tokens", "shards", "together"),
    [
        (32, 8, 16_384, 1, 8),
        (32, 8, 16_384, 4, 8),
        (32, 8, 16_384, 8, 4),  # 4 rows of 8 do not divide over 8 devices
        (12, 8, 16_384, 1, 4),
        (32, 8, 64 + 4 * 32, 1, 4),  # a row is at most one forward pass
        (32, 8, 10, 1, 1),
        (5, 5, 16_384, 1, 5),
        (7, 8, 16_384, 1, 1),
    ],
)
def test_as_many_samples_share_a_row_as_updates_devices_and_memory_allow(rows, samples, max_tokens, shards, together):
    assert samples_together(rows, samples, SHAPE, max_tokens, shards) == together


def test_auto_shares_prompts_where_no_kernel_attends_over_whole_rows():
    on_gpu = dataclasses.replace(MODEL, compute_dtype="bfloat16")
    assert choose_kind("auto", SHAPE, MODEL, 8, "cpu") == choose_kind("auto", SHAPE, MODEL, 8, "gpu") == "shared"
    assert choose_kind("auto", SHAPE, on_gpu, 8, "gpu") == choose_kind("auto", SHAPE, MODEL, 1, "cpu") == "padded"
    assert [choose_kind(kind, SHAPE, on_gpu, 8, "gpu") for kind in ("padded", "packed", "shared")] == [
        "padded",
        "packed",
        "shared",
    ]


def test_the_cost_counts_projections_scores_and_the_head():
    """One layer, P = T = 1, G = 2: 3 positions and not 4, scores 1 + 2 x 2 and not 2 x 4, and the same head."""
    model = dataclasses.replace(MODEL, num_layers=1, num_heads=1, width=4, head_dim=2, feed_forward=1, vocab_size=3)
    position, score, head = 4 * (2 * 4 + 3), 2 * 2, 2 * 4 * 3
    expected = (3 * position + 5 * score + head) / (4 * position + 8 * score + head)
    assert relative_cost(RowShape(2, 1), model, 2) == pytest.approx(expected)

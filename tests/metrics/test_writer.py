# SPDX-License-Identifier: Apache-2.0
"""Metric lines: exact values, order, and what is left of them after a kill and a resume."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntl_jax.metrics import MetricWriter, read_lines

RUN = [("warm_start", 1), ("warm_start", 2), ("ppo", 0), ("ppo", 1), ("ppo", 2)]


def write_run(folder, points):
    with MetricWriter(folder) as writer:
        for stage, step in points:
            writer.write(stage, step, {"val/accuracy": 0.1 * step})


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_reads_back_with_the_same_bits(tmp_path_factory, value):
    folder = tmp_path_factory.mktemp("run")
    with MetricWriter(folder) as writer:
        writer.write("ppo", 1, {"actor/pg_loss": value, "critic/vf_loss": np.float32(0.1)})
    row = read_lines(folder / "metrics.jsonl")[0]
    assert math.copysign(1, row["actor/pg_loss"]) == math.copysign(1, value) and row["actor/pg_loss"] == value
    assert np.float32(row["critic/vf_loss"]) == np.float32(0.1)


def test_device_scalars_and_values_json_does_not_have_are_written(tmp_path):
    with MetricWriter(tmp_path) as writer:
        writer.write("ppo", 7, {"actor/pg_loss": jnp.float32(0.5), "ntl/loss": jnp.nan, "actor/grad_norm": np.inf})
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text == '{"stage": "ppo", "step": 7, "actor/pg_loss": 0.5, "ntl/loss": null, "actor/grad_norm": null}\n'


def test_a_metric_that_the_table_does_not_explain_is_refused(tmp_path):
    with MetricWriter(tmp_path) as writer, pytest.raises(KeyError, match="add it there"):
        writer.write("ppo", 1, {"actor/invented": 1.0})
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_line_is_on_disk_as_soon_as_it_is_written(tmp_path):
    with MetricWriter(tmp_path) as writer:
        writer.write("warm_start", 1, {"warm_start/cross_entropy": 1.0})
        assert len(read_lines(tmp_path / "metrics.jsonl")) == 1


@pytest.mark.parametrize("checkpoint", range(len(RUN)))
@pytest.mark.parametrize("torn", ["", '{"stage": "ppo", "st'])
def test_a_resumed_file_equals_the_uninterrupted_one(tmp_path, checkpoint, torn):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    for folder in (whole, resumed):
        folder.mkdir()
        write_run(folder, RUN)
    with (resumed / "metrics.jsonl").open("a") as file:
        file.write(torn)
    with MetricWriter(resumed) as writer:
        writer.truncate_after(*RUN[checkpoint])
    write_run(resumed, RUN[checkpoint + 1 :])
    assert (resumed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_lines_of_the_checkpoints_own_step_are_kept(tmp_path):
    write_run(tmp_path, [("ppo", 1), ("ppo", 2), ("ppo", 2), ("ppo", 3)])
    with MetricWriter(tmp_path) as writer:
        writer.truncate_after("ppo", 2)
    assert [row["step"] for row in read_lines(tmp_path / "metrics.jsonl")] == [1, 2, 2]


@pytest.mark.parametrize("line", ["{", "[1]", '{"stage": "other", "step": 1}', '{"stage": "ppo"}'])
def test_a_broken_line_is_an_error_that_names_file_and_line(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(f'{{"stage": "ppo", "step": 1}}\n{line}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2: "):
        read_lines(tmp_path / "metrics.jsonl")

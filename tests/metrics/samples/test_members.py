# SPDX-License-Identifier: Apache-2.0
"""Reading the log of samples: whole, torn, damaged, and files of another kind."""

import gzip
import json

import pytest

from ntl_jax.metrics.samples import members as module
from ntl_jax.metrics.samples.members import read_groups, read_members


def member(step: int, /, **values: object) -> bytes:
    return gzip.compress((json.dumps({"stage": "ppo", "step": step} | values) + "\n").encode())


def steps(path, content: bytes) -> list[int]:
    path.write_bytes(content)
    return [found.step for found in read_members(path)]


@pytest.mark.parametrize("length", [1, 5, 11, -1])
def test_a_torn_last_member_is_left_out(tmp_path, length):
    assert steps(tmp_path / "log", member(1) + member(2)[:length]) == [1]


def test_what_is_damaged_costs_only_itself(tmp_path):
    damaged = bytearray(member(2, text="x" * 500))
    damaged[20:24] = b"\0\0\0\0"
    assert steps(tmp_path / "log", member(1) + bytes(damaged) + b"garbage" + member(3)) == [1, 3]


@pytest.mark.parametrize("content", [b"", b"no gzip at all", gzip.compress(b""), gzip.compress(b"[1, 2]\n")])
def test_a_file_without_members_of_ours_has_none(tmp_path, content):
    assert steps(tmp_path / "log", content) == []


@pytest.mark.parametrize("values", [{"stage": "other"}, {"step": "1"}, {"step": None}])
def test_a_member_that_names_no_step_is_left_out(tmp_path, values):
    assert steps(tmp_path / "log", member(1, **values) + member(2)) == [2]


def test_a_member_that_unpacks_to_more_than_memory_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 10_000)
    assert steps(tmp_path / "log", member(1, text="x" * 10**6) + member(2)) == [2]


def test_every_member_names_its_end_and_its_bytes(tmp_path):
    path, parts = tmp_path / "log", [member(1, text="a" * 200_000), member(2)]
    path.write_bytes(b"".join(parts))
    first, second = read_members(path)
    assert (first.packed, second.packed) == tuple(parts) and first.end == len(parts[0])
    assert second.end == path.stat().st_size and read_groups(path)[1] == {"stage": "ppo", "step": 2}

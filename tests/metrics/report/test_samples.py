# SPDX-License-Identifier: Apache-2.0
"""Samples on a page: as they are in the log, as many as fit, and what becomes of a damaged log."""

import base64
import gzip
import json

from ntl_jax.metrics.report.blocks import Blocks
from ntl_jax.metrics.report.samples import add_samples
from ntl_jax.metrics.samples.log import SAMPLES_FILE, SampleLog
from ntl_jax.metrics.samples.members import read_groups, read_members
from tests.logged import group, write_run


def unpacked(blocks: Blocks, name: str) -> list:
    text = gzip.decompress(base64.b64decode(blocks.packed[int(name[1:])])).decode()
    return [json.loads(line, parse_constant=lambda word: word) for line in text.splitlines()]


def page_of(folder, **options) -> tuple[Blocks, list, dict | None, list[str]]:
    blocks, notes = Blocks(), []
    samples, digits = add_samples(folder, blocks, notes, **options)
    return blocks, samples, digits, notes


def test_a_page_has_the_samples_of_every_iteration_as_they_are_in_the_log(tmp_path):
    blocks, samples, digits, notes = page_of(write_run(tmp_path))
    assert [(stage, step) for stage, step, _ in samples] == [("ppo", step) for step in (1, 2, 3, 4)]
    shown = [group for _, _, block in samples for group in unpacked(blocks, block)]
    assert shown == read_groups(tmp_path / SAMPLES_FILE) and len(shown) == 8
    assert digits is not None and notes == []


def test_a_run_without_samples_has_none(tmp_path):
    assert page_of(tmp_path)[1:] == ([], None, [])
    (tmp_path / SAMPLES_FILE).touch()
    assert page_of(tmp_path)[1:] == ([], None, [])


def test_a_torn_end_is_left_out_and_noted(tmp_path):
    content = (write_run(tmp_path) / SAMPLES_FILE).read_bytes()
    (tmp_path / SAMPLES_FILE).write_bytes(content[:-5])
    _, samples, _, notes = page_of(tmp_path)
    assert [step for _, step, _ in samples] == [1, 2, 3]
    assert notes == [f"{SAMPLES_FILE}: parts that are incomplete, damaged or written twice are left out"]


def test_what_a_browser_cannot_read_is_mended_or_left_out(tmp_path):
    lines = [
        '{"stage": "ppo", "step": 1, "samples": [{"log_probs": [NaN, -Infinity]}]}',
        "{torn",
        "[]",
        "[" * 5000,
        "[" * 600 + "NaN" + "]" * 600,
    ]
    (tmp_path / SAMPLES_FILE).write_bytes(gzip.compress("\n".join(lines).encode()))
    blocks, samples, digits, notes = page_of(tmp_path)
    (group,) = unpacked(blocks, samples[0][2])
    assert group["samples"] == [{"log_probs": [None, None]}] and digits is None
    assert notes == [f"{SAMPLES_FILE}: 4 lines cannot be read and are left out"]


def test_samples_of_another_version_are_shown_without_their_digits(tmp_path):
    rows = [
        {"stage": "ppo", "step": step, "samples": samples} for step, samples in enumerate([None, 5, ["x"], [{}]], 1)
    ]
    members = [gzip.compress(json.dumps(row).encode()) for row in rows]
    (tmp_path / SAMPLES_FILE).write_bytes(b"".join(members))
    blocks, samples, digits, notes = page_of(tmp_path)
    assert [unpacked(blocks, block) for _, _, block in samples] == [[row] for row in rows]
    assert (digits, notes) == (None, [])


def test_iterations_are_left_out_evenly_where_samples_do_not_fit(tmp_path):
    folder = write_run(tmp_path)
    size = max(len(member.packed) for member in read_members(folder / SAMPLES_FILE))
    _, samples, digits, notes = page_of(folder, most_bytes=2 * size)
    assert [step for _, step, _ in samples] == [1, 4]
    assert digits is not None and digits["iterations"] == [[1, 1], [4, 4]]
    assert notes == [f"{SAMPLES_FILE} is large: the page has the samples of 2 of 4 iterations"]
    assert page_of(folder, most_bytes=10)[1] == []


def test_the_end_of_a_log_that_is_being_written_is_no_damage(tmp_path):
    content = (write_run(tmp_path) / SAMPLES_FILE).read_bytes()
    (tmp_path / SAMPLES_FILE).write_bytes(content[:-5])
    assert page_of(tmp_path, is_running=True)[3] == []


def test_digits_are_those_of_policy_optimization(tmp_path):
    with SampleLog(tmp_path) as log:
        for stage, step in (("warm_start", 50), ("ppo", 1)):
            log.write(stage, step, lambda: [group("42")])
    _, samples, digits, _ = page_of(tmp_path)
    assert [step for _, step, _ in samples] == [50, 1]
    assert digits is not None and digits["iterations"] == [[1, 1]]


def test_samples_of_an_older_version_are_named(tmp_path):
    (tmp_path / "samples.jsonl").touch()
    assert page_of(tmp_path)[3] == ["samples.jsonl: the samples of an older version of ntl_jax are not shown"]

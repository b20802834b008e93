# SPDX-License-Identifier: Apache-2.0
"""What happened in a run, from its logs."""

import json

from ntl_jax.metrics.report.events import alarms, divergent_tokens, last_error, log_lines, reward_errors
from tests.divergence_lines import lines


def test_an_alarm_lasts_from_its_first_to_its_last_iteration_and_says_what_the_log_said(tmp_path):
    (tmp_path / "divergence.log").write_text(
        "2026-11-30 04:32:36,852 alarm lost_update in iteration 2: samples of old weights: look at the engine\n"
    )
    values = {"alarm/lost_update": [None, 1, 1, None, 1], "alarm/engine_kl": [None, None, None, 1, None]}
    found = alarms({"ppo": {"steps": [1, 2, 3, 4, 5], "values": values}}, tmp_path)
    assert [(a["name"], a["first"], a["last"]) for a in found] == [
        ("lost_update", 2, 3), ("engine_kl", 4, 4), ("lost_update", 5, 5),
    ]  # fmt: skip
    assert [a["text"] for a in found] == ["samples of old weights: look at the engine", "", ""]


def test_the_most_divergent_tokens_come_with_what_they_mean(tmp_path):
    (tmp_path / "divergence.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in lines()))
    found = divergent_tokens(tmp_path, [])
    assert found is not None and found["total"] == len(lines()) and found["findings"]
    divergences = [token["prob_divergence"] for token in found["tokens"]]
    assert divergences == sorted(divergences, reverse=True)


def test_a_run_whose_tokens_agree_has_no_divergent_ones_and_a_damaged_log_is_noted(tmp_path):
    notes: list[str] = []
    assert divergent_tokens(tmp_path, notes) is None and notes == []
    (tmp_path / "divergence.jsonl").write_text("no JSON\n")
    assert divergent_tokens(tmp_path, notes) is None and "divergence.jsonl" in notes[0]


def test_reasons_without_a_reward_are_counted(tmp_path):
    rows = [{"stage": "ppo", "step": step, "error": error} for step, error in ((1, "a"), (3, "b"), (5, "b"))]
    (tmp_path / "reward_errors.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows) + "torn")
    assert reward_errors(tmp_path, []) == [
        {"error": "b", "count": 2, "first": 3, "last": 5}, {"error": "a", "count": 1, "first": 1, "last": 1},
    ]  # fmt: skip


def test_logs_that_are_missing_are_empty(tmp_path):
    assert (list(log_lines(tmp_path / "pool.log")), reward_errors(tmp_path, []), last_error(tmp_path)) == ([], [], None)


def test_the_error_of_a_run_is_the_first_process_s_or_else_that_of_the_first_that_has_one(tmp_path):
    for name in ("error-10.txt", "error-2.txt", "error-of-mine.txt"):
        (tmp_path / name).write_text(f"{name}\n")
    assert last_error(tmp_path) == "error-2.txt"
    (tmp_path / "error.txt").write_text("of the first\n")
    assert last_error(tmp_path) == "of the first"

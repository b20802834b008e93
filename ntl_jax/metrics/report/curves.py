# SPDX-License-Identifier: Apache-2.0
"""A run's metrics as columns, and the panels in which a page draws them."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ntl_jax.metrics.names import STAGES, meaning

Columns = dict[str, dict[str, Any]]
"""By stage: ``steps``, and ``values`` by metric, with None where a step has none."""
SIGNIFICANT = 6
"""Digits of a value."""
LARGEST = 1e300
"""What is larger is a gap, as is what is not finite."""


@dataclasses.dataclass(frozen=True)
class Panel:
    """One plot.

    Args:
        title: of the plot.
        stage: of the run.
        metrics: that are drawn, with their labels.
        kind: lines, or parts of a whole one upon another.
        percent: values are fractions.
        interval: a 95% interval surrounds values that are fractions of this many problems: the name of a metric, or
            ``prompts`` for the prompts of an iteration, whose samples are not independent; None: there is none.
    """

    title: str
    stage: Literal["warm_start", "ppo"]
    metrics: Mapping[str, str]
    kind: Literal["lines", "stack"] = "lines"
    percent: bool = False
    interval: str | None = None


PANELS = (
    Panel("Held-out accuracy", "ppo", {"val/accuracy": "greedy"}, percent=True, interval="val/num_problems"),
    Panel(
        "Held-out error",
        "ppo",
        {"val/smape": "mean symmetric error", "val/median_relative_error": "median relative error"},
    ),
    Panel("Reward", "ppo", {"critic/score/mean": "mean reward"}),
    Panel("Accuracy of samples", "ppo", {"reward/accuracy": "exact match"}, percent=True, interval="prompts"),
    Panel("Number Token Loss", "ppo", {"ntl/loss": "while sampling", "actor/ntl_loss": "in the update"}),
    Panel("Digits that are right", "ppo", {"ntl/digit_accuracy": "digit accuracy"}, percent=True),
    Panel("KL of an update (nats)", "ppo", {"actor/ppo_kl": "old to new policy"}),
    Panel("KL to the reference policy (nats)", "ppo", {"actor/kl": "KL"}),
    Panel("Clipped tokens", "ppo", {"actor/pg_clipfrac": "clip fraction"}, percent=True),
    Panel("Entropy (nats)", "ppo", {"actor/entropy": "policy"}),
    Panel("Response length (tokens)", "ppo", {"response_length/mean": "mean", "response_length/max": "longest"}),
    Panel("Cut-off responses", "ppo", {"response_length/clip_ratio": "at the limit"}, percent=True),
    Panel(
        "Sampler against trainer (probabilities)",
        "ppo",
        {"mismatch/engine/mean": "equal weights", "mismatch/staleness/mean": "older weights"},
    ),
    Panel("Staleness (iterations)", "ppo", {"staleness/mean": "mean", "staleness/max": "oldest"}),
    Panel("Critic", "ppo", {"critic/vf_loss": "value loss", "critic/vf_explained_var": "explained variance"}),
    Panel("Gradient norm", "ppo", {"actor/grad_norm": "before clipping"}),
    Panel(
        "Time of an iteration (seconds)",
        "ppo",
        {
            "timing_s/update_weights": "weights to the engine",
            "timing_s/gen": "sampling",
            "timing_s/reward": "reward",
            "timing_s/old_log_prob": "old log-probs",
            "timing_s/ref": "reference",
            "timing_s/values": "critic",
            "timing_s/adv": "advantages",
            "timing_s/update_actor": "updates",
            "timing_s/divergence": "divergence",
        },
        kind="stack",
    ),
    Panel("Tokens per second", "ppo", {"perf/throughput": "whole iteration"}),
    Panel("Workers of the pool", "ppo", {"pool/workers": "there", "pool/restarts": "replaced so far"}),
    Panel("Memory (GiB)", "ppo", {"perf/max_memory_allocated_gb": "device", "perf/cpu_memory_used_gb": "host"}),
    Panel(
        "Warm start: losses",
        "warm_start",
        {"warm_start/cross_entropy": "cross entropy", "warm_start/ntl_loss": "Number Token Loss"},
    ),
    Panel(
        "Warm start: held-out accuracy",
        "warm_start",
        {"val/accuracy": "greedy"},
        percent=True,
        interval="val/num_problems",
    ),
)


def read_columns(path: pathlib.Path, notes: list[str]) -> Columns:
    """The metrics of ``metrics.jsonl``, whatever its state.

    Args:
        path: of the file; it may be missing.
        notes: gets a line if lines were left out.

    Example:
        >>> import tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "metrics.jsonl"
        >>> _ = path.write_text('{"stage": "ppo", "step": 1, "ntl/loss": 0.25}\\n{"stage": "ppo", "st')
        >>> read_columns(path, [])
        {'ppo': {'steps': [1], 'values': {'ntl/loss': [0.25]}}}
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        notes.append(f"{path.name} cannot be read ({error.strerror})")
        return {}
    complete, _, torn = content.rpartition(b"\n")
    rows = [row for line in complete.splitlines() if (row := _row(line)) is not None]
    left_out = len(complete.splitlines()) - len(rows) + bool(torn.strip())
    if left_out:
        notes.append(f"{path.name}: {left_out} line{'s' * (left_out > 1)} cannot be read and are left out")
    return _columns(rows)


def meanings(columns: Iterable[Columns]) -> dict[str, str]:
    """What the metrics of some runs mean, by name; those of other versions may be unknown."""
    names = {name for of_run in columns for of_stage in of_run.values() for name in of_stage["values"]}
    return {name: text for name in sorted(names) if (text := _meaning(name)) is not None}


def _meaning(name: str) -> str | None:
    try:
        return meaning(name)
    except KeyError:
        return None


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_row = isinstance(row, dict) and row.get("stage") in STAGES and type(row.get("step")) is int
    return row if is_row else None


def _columns(rows: Iterable[Mapping[str, Any]]) -> Columns:
    by_place = {(row["stage"], row["step"]): row for row in rows}  # of a step that stands twice, the last
    columns: Columns = {}
    for stage in STAGES:
        of_stage = [by_place[place] for place in sorted(by_place) if place[0] == stage]
        if of_stage:
            names = dict.fromkeys(name for row in of_stage for name in row if name not in ("stage", "step"))
            values = {name: [_plain(row.get(name)) for row in of_stage] for name in names}
            columns[stage] = {"steps": [row["step"] for row in of_stage], "values": values}
    return columns


def _plain(value: object) -> float | int | None:
    """A number as a page has it; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        return None
    short = float(f"{value:.{SIGNIFICANT}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short

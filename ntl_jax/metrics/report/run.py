# SPDX-License-Identifier: Apache-2.0
"""Everything that a page shows of one run, read from its folder, whatever state that is in."""

import datetime
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ntl_jax.config import CONFIG_FILE, RunConfig
from ntl_jax.config.serialization import flatten
from ntl_jax.metrics.atomic_files import as_plain
from ntl_jax.metrics.report.blocks import Blocks
from ntl_jax.metrics.report.curves import Columns, read_columns
from ntl_jax.metrics.report.events import (
    MOST_LINES,
    alarms,
    divergent_tokens,
    last_error,
    log_lines,
    reward_errors,
)
from ntl_jax.metrics.report.samples import MOST_BYTES, add_samples
from ntl_jax.run_folder import is_claimed

MOST_SECONDS = 1e10
"""Of a run: more is no time that a clock has measured."""


def read_run(folder: pathlib.Path, blocks: Blocks, most_bytes: int = MOST_BYTES) -> tuple[dict[str, Any], Columns]:
    """Reads a run folder: the first block is that of its metrics.

    Args:
        folder: the run folder, also of a run that goes on, has failed or was killed.
        blocks: of the page.
        most_bytes: of its samples, packed.

    Returns:
        What the page holds of the run, as its scripts expect it; and its metrics.

    Raises:
        ValueError: if the folder holds neither ``config.json`` nor ``metrics.jsonl``.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp()) / "mine"
        >>> folder.mkdir()
        >>> _ = (folder / "metrics.jsonl").write_text('{"stage": "ppo", "step": 1, "val/accuracy": 0.25}\\n')
        >>> run, _ = read_run(folder, Blocks())
        >>> run["name"], run["status"], run["headline"]
        ('mine', 'stopped', [['held-out accuracy', '25.0%']])
    """
    if not any((folder / name).is_file() for name in (CONFIG_FILE, "metrics.jsonl")):
        raise ValueError(f"{folder} holds no run: give a folder that launch/train.py made")
    notes: list[str] = []
    columns = read_columns(folder / "metrics.jsonl", notes)
    stored = _json(folder / CONFIG_FILE, notes)
    metrics = blocks.add(columns)
    is_running = is_claimed(folder)
    samples, digits = add_samples(folder, blocks, notes, most_bytes, is_running=is_running)
    settings = _settings(stored)
    values = {path: value for path, _, value in settings}
    error = last_error(folder)
    status, status_text = _status(columns, values, is_running=is_running, has_failed=error is not None)
    prompts = values.get("rollout.prompts_per_step")
    return {
        "name": folder.resolve().name,
        "status": status,
        "status_text": status_text,
        "headline": _headline(columns),
        "error": error,
        "metrics": metrics,
        "prompts_per_iteration": prompts if type(prompts) is int else None,
        "samples": samples,
        "digits": digits,
        "alarms": alarms(columns, folder),
        "divergence": divergent_tokens(folder, notes),
        "pool": list(log_lines(folder / "pool.log"))[-MOST_LINES:],
        "pool_faults": sum(_newest(columns, f"pool/{name}") for name in ("restarts", "quarantined")),
        "reward_errors": reward_errors(folder, notes),
        "settings": settings,
        "environment": _json(folder / "environment.json", notes),
        "notes": notes,
    }, columns


def _json(path: pathlib.Path, notes: list[str]) -> dict[str, Any]:
    """The object that a file holds; empty if there is none."""
    try:
        content = as_plain(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"{path.name} cannot be read ({error})")
        return {}
    return content if isinstance(content, dict) else {}


def _settings(stored: Mapping[str, Any]) -> list[list[Any]]:
    """Path, default and value of every setting, in the order of the configuration; those of other versions follow."""
    defaults = {path: as_plain(value) for path, value in flatten(RunConfig()).items()}
    given = dict(_leaves({name: value for name, value in stored.items() if name != "format"}))
    known = [[path, default, given.get(path, default)] for path, default in defaults.items()] if given else []
    return known + [[path, None, value] for path, value in given.items() if path not in defaults]


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, value in tree.items():
        found += _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return found


def _status(columns: Columns, values: Mapping[str, Any], *, is_running: bool, has_failed: bool) -> tuple[str, str]:
    """How the run is, and how far it is in its last stage."""
    stage, total = "ppo", values.get("trainer.steps")
    if total == 0:
        stage, total = "warm_start", values.get("warm_start.steps")
    total = total if type(total) is int else None
    done = columns[stage]["steps"][-1] if stage in columns else 0
    what = "iterations" if stage == "ppo" else "steps"
    text = f"{done:,} {what}" if total is None else f"{done:,} of {total:,} {what}"
    target, accuracy = values.get("trainer.target_accuracy"), _newest(columns, "val/accuracy")
    if is_running:
        return "running", text
    if has_failed:
        return "failed", text
    is_reached = isinstance(target, float) and accuracy >= target
    return "finished" if is_reached or (total is not None and done >= total) else "stopped", text


def _newest(columns: Columns, metric: str) -> float:
    """The last value of a metric of PPO; 0 if there is none."""
    return next((x for x in reversed(_values(columns, "ppo", metric)) if x is not None), 0.0)


def _values(columns: Columns, stage: str, metric: str) -> Sequence[float | None]:
    return columns[stage]["values"].get(metric, []) if stage in columns else []


def _headline(columns: Columns) -> list[list[str]]:
    """The figures by which a run is known: accuracy and reward, first and last, and the time that it took."""
    accuracy = [_ends(_values(columns, stage, "val/accuracy")) for stage in ("ppo", "warm_start")]
    reward = _ends(_values(columns, "ppo", "critic/score/mean"))
    seconds = sum(value for value in _values(columns, "ppo", "timing_s/step") if value is not None)
    figures = {
        "held-out accuracy": [f"{value:.1%}" for value in accuracy[0] or accuracy[1]],
        "reward": [f"{value:.3g}" for value in reward],
        "iterations took": [str(datetime.timedelta(seconds=round(seconds)))] if 0 < seconds < MOST_SECONDS else [],
    }
    return [[name, " → ".join(dict.fromkeys(values))] for name, values in figures.items() if values]


def _ends(values: Sequence[float | None]) -> list[float]:
    """The first and the last of the values that there are."""
    known = [value for value in values if value is not None]
    return [known[0], known[-1]] if known else []

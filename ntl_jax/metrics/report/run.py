# SPDX-License-Identifier: Apache-2.0
"""Everything that a page shows of one run, read from its folder, whatever state that is in."""

import datetime
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ntl_jax.config import CONFIG_FILE, RunConfig
from ntl_jax.config.serialization import flatten
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
    samples, digits = add_samples(folder, blocks, notes, most_bytes)
    settings = _settings(stored)
    values = {path: value for path, _, value in settings}
    error = last_error(folder)
    status, status_text = _status(folder, columns, values, failed=error is not None)
    per_iteration = [values.get(f"rollout.{name}") for name in ("prompts_per_step", "num_samples")]
    return {
        "name": folder.resolve().name,
        "status": status,
        "status_text": status_text,
        "headline": _headline(columns),
        "error": error,
        "metrics": metrics,
        "samples_per_iteration": _product(per_iteration),
        "samples": samples,
        "digits": digits,
        "alarms": alarms(columns, folder),
        "divergence": divergent_tokens(folder, notes),
        "pool": list(log_lines(folder / "pool.log"))[-MOST_LINES:],
        "reward_errors": reward_errors(folder),
        "settings": settings,
        "environment": _json(folder / "environment.json", notes),
        "notes": notes,
    }, columns


def _json(path: pathlib.Path, notes: list[str]) -> dict[str, Any]:
    """The object that a file holds; empty if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=str)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"{path.name} cannot be read ({error})")
        return {}
    return content if isinstance(content, dict) else {}


def _settings(stored: Mapping[str, Any]) -> list[list[Any]]:
    """Path, default and value of every setting, in the order of the configuration; those of other versions follow."""
    defaults = {path: _plain(value) for path, value in flatten(RunConfig()).items()}
    given = dict(_leaves({name: value for name, value in stored.items() if name != "format"}))
    known = [[path, default, given.get(path, default)] for path, default in defaults.items()] if given else []
    return known + [[path, None, value] for path, value in given.items() if path not in defaults]


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, value in tree.items():
        found += _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return found


def _plain(value: object) -> object:
    """A setting as JSON has it."""
    return list(map(_plain, value)) if isinstance(value, tuple) else value


def _status(folder: pathlib.Path, columns: Columns, values: Mapping[str, Any], *, failed: bool) -> tuple[str, str]:
    """How the run is, and how far it is."""
    done = columns.get("ppo", {"steps": [0]})["steps"][-1]
    total = values.get("trainer.steps")
    text = f"{done:,} iterations" if total is None else f"{done:,} of {total:,} iterations"
    if is_claimed(folder):
        return "running", text
    if failed:
        return "failed", text
    if total is None or done < total:
        return "stopped", text
    return "finished", text


def _headline(columns: Columns) -> list[list[str]]:
    """The figures by which a run is known: accuracy and reward, first and last, and the time that it took."""
    ppo, warm_start = (columns.get(stage, {"values": {}})["values"] for stage in ("ppo", "warm_start"))
    accuracy = _ends(ppo.get("val/accuracy", [])) or _ends(warm_start.get("val/accuracy", []))
    seconds = sum(value for value in ppo.get("timing_s/step", []) if value is not None)
    figures = {
        "held-out accuracy": [f"{value:.1%}" for value in accuracy],
        "reward": [f"{value:.3g}" for value in _ends(ppo.get("critic/score/mean", []))],
        "iterations took": [str(datetime.timedelta(seconds=round(seconds)))] if seconds else [],
    }
    return [[name, " → ".join(dict.fromkeys(values))] for name, values in figures.items() if values]


def _ends(values: Sequence[float | None]) -> list[float]:
    """The first and the last of the values that there are."""
    known = [value for value in values if value is not None]
    return [known[0], known[-1]] if known else []


def _product(factors: list[Any]) -> int | None:
    first, second = factors
    return first * second if isinstance(first, int) and isinstance(second, int) else None

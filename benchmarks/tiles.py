# SPDX-License-Identifier: Apache-2.0
"""What decoding in tiles of slots costs or saves on a CPU, beside one program of all slots.

Aims, 3.4M parameters, 512 slots: where responses may end early but hardly any does, tiles take at most 1.03x the time
of one program; where lengths differ (mean 40, limit 128) they take less.

    python -m benchmarks.tiles           # writes benchmarks/results/tiles-PLATFORM.json
    python -m benchmarks.tiles --quick   # few repeats, nothing written: does it run?

Both sides are the engine, with the same weights and prompts. Turns alternate; a ratio is the median over neighboring
turns with its 95% interval. "equal" has one stop token, "differing" as many as benchmarks/rollout.py, and "refilled"
has twice as many samples as slots.
"""

import argparse
import json
import pathlib
from typing import Any

import jax

from benchmarks.measure import RESULTS, machine, write
from benchmarks.rollout import WORKLOADS
from benchmarks.samplers import ENDING_MAX_TOKENS, FIRST_STOP_ID, SHAPES, Ours, compare, make_decoder
from benchmarks.samplers import stop_ids as ending_ids
from ntl_jax.host_memory import keep_freed_memory

ONE, TILES = "one program", "tiles"
CASES = EQUAL, DIFFER, REFILLED = "equal", "differing", "refilled"


def main() -> None:
    parser = argparse.ArgumentParser(description="What decoding in tiles costs or saves.")
    parser.add_argument("--quick", action="store_true", help="few repeats, nothing written")
    parser.add_argument("--repeats", type=int, default=15, help="turns of each side")
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=CASES, help="some cases")
    parser.add_argument("--output", type=pathlib.Path, default=None, help="where to write the JSON result")
    args = parser.parse_args()
    keep_freed_memory()
    decoder = make_decoder(SHAPES["small"])
    num_prompts, num_samples, max_tokens, slots = WORKLOADS["small"]
    sides = {TILES: Ours(decoder, slots=slots), ONE: Ours(decoder, slots=slots, tile_slots=slots)}
    rarely, often = (FIRST_STOP_ID,), ending_ids(decoder.config, True)
    cases = {
        EQUAL: (num_prompts, max_tokens, rarely),
        DIFFER: (num_prompts, ENDING_MAX_TOKENS, often),
        REFILLED: (2 * num_prompts, ENDING_MAX_TOKENS, often),
    }
    result: dict[str, Any] = {"machine": machine(), "repeats": 2 if args.quick else args.repeats, "slots": slots}
    for name in args.only:
        prompts, tokens, stops = cases[name]
        work = prompts, num_samples, tokens
        turns = {
            side: lambda ours=ours, work=work, stops=stops: ours.turn(*work, stops=stops)
            for side, ours in sides.items()
        }
        result[name] = {"prompts x samples x tokens": work} | compare(turns, result["repeats"])
        print(name, json.dumps(result[name], indent=2), flush=True)
    if not args.quick or args.output:
        write(result, args.output or RESULTS / f"tiles-{jax.default_backend()}.json")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What an update gains from computing each prompt once for all of its samples.

Claims: on CPU, beside the same update with a prompt in every row, at least 1.25x faster in the default run (policy of
0.8M parameters), 1.2x at benchmarks/ppo_step.py's sizes, and 2.5x at SmolLM2-135M's with prompts of 400 tokens and 8
responses of 100.

    python -m benchmarks.row_layouts           # writes benchmarks/results/row_layouts-PLATFORM.json
    python -m benchmarks.row_layouts --quick   # smallest shapes and few steps: does it run?

An update is the trainer's, on random tokens: PPO's clipped objective with the Number Token Loss, AdamW, float32. The
two layouts take turns in one process; a speedup is the median over pairs with its 95% interval. ``positions`` is what
the positions alone would give.
"""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.measure import RESULTS, machine, ratio, write
from benchmarks.shapes import SMOLLM2_135M
from ntl_jax.config import OptimizerSection, RunConfig
from ntl_jax.host_memory import keep_freed_memory
from ntl_jax.models import Decoder, ModelConfig, batch_sharding, make_mesh, shardings
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Batch, Experience
from ntl_jax.rows.layout import Kind, Layout
from ntl_jax.rows.padding import RowShape
from ntl_jax.update.optimizer import make_optimizer
from ntl_jax.update.state import init_model_state, init_params, init_train_state
from ntl_jax.update.step import Learner, make_step
from ntl_jax.update.terms import PPOTerms
from ntl_jax.update.token_weights import policy_weights


@dataclasses.dataclass(frozen=True)
class Case:
    """A policy and the rows of an update: prompts x samples, all of full length."""

    model: ModelConfig
    num_prompts: int
    num_samples: int
    prompt: int
    response: int


TINY = ModelConfig(vocab_size=64, num_layers=2, width=32, num_heads=2, num_kv_heads=1, head_dim=16, feed_forward=64)
DEFAULT = ModelConfig(
    vocab_size=512, num_layers=4, width=128, num_heads=4, num_kv_heads=2, head_dim=32, feed_forward=384, num_tokens=492
)
SMALL = ModelConfig(
    vocab_size=1024, num_layers=4, width=256, num_heads=4, num_kv_heads=2, head_dim=64, feed_forward=704
)
QUICK = {"tiny": Case(TINY, 2, 4, 8, 8)}
CASES = {
    "gsm8k_ntl": Case(DEFAULT, 4, 8, 20, 32),
    "ppo_step": Case(SMALL, 8, 8, 32, 64),
    "smollm2-135m": Case(SMOLLM2_135M, 1, 8, 400, 100),
}


def random_batch(case: Case, kind: Kind) -> Batch[Experience]:
    rng = np.random.default_rng(0)
    prompts = rng.integers(0, case.model.vocab_size, (case.num_prompts, case.prompt), np.int32)
    shape = case.num_prompts * case.num_samples, case.response
    responses = rng.integers(0, case.model.vocab_size, shape, np.int32)
    numbers = np.where(responses < 10, rng.integers(0, 10, shape), np.nan)
    layout = Layout(kind, RowShape(case.prompt + case.response, case.response), case.num_samples)
    of_samples = list(np.repeat(prompts, case.num_samples, axis=0))
    rows, targets = layout.rows(of_samples, list(responses), numbers=list(numbers))
    old = np.full(targets.mask.shape, -np.log(case.model.vocab_size), np.float32)
    experience = Experience(targets, old, rng.normal(size=old.shape).astype(np.float32))
    return Batch(rows, experience, policy_weights(experience, scale=case.response))


def update(case: Case, kind: Kind) -> Callable[[], Any]:
    """An update of a policy of its own."""
    mesh = make_mesh((1, 1, 1), jax.devices()[:1])
    table = NumberTable.from_vocab({str(d): d for d in range(10)}, vocab_size=case.model.vocab_size)
    graph, params = init_params(lambda rngs: Decoder(case.model, rngs=rngs), 0, mesh)
    optimizer = make_optimizer(OptimizerSection(schedule="constant"), 1000)
    state = init_train_state({"policy": init_model_state(params, optimizer, mesh)}, mesh)
    terms = PPOTerms(RunConfig(), table, graph, None).of_update()
    step = make_step(terms, {"policy": Learner(optimizer, "actor")}, 10**6, shardings(state, mesh))
    batch = jax.device_put(random_batch(case, kind), batch_sharding(mesh))

    def run() -> None:
        nonlocal state
        state, metrics, _ = step(state, batch)
        jax.block_until_ready((state, metrics))

    return run


def measure(case: Case, num_pairs: int) -> dict[str, Any]:
    pair = ratio(update(case, "padded"), update(case, "shared"), num_pairs)
    padded, shared = (np.prod(random_batch(case, kind).rows.shape) for kind in ("padded", "shared"))
    sizes = {name: value for name, value in dataclasses.asdict(case).items() if name != "model"}
    return sizes | {
        "speedup": round(1 / pair["ratio"], 3),
        "low": round(1 / pair["high"], 3),
        "high": round(1 / pair["low"], 3),
        "positions": round(padded / shared, 3),
        "padded_s": pair["baseline_s"],
        "shared_s": pair["candidate_s"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="What an update gains from computing each prompt once.")
    parser.add_argument("--quick", action="store_true", help="smallest shapes, few steps, nothing written")
    parser.add_argument("--pairs", type=int, default=30, help="pairs of updates for each case")
    parser.add_argument("--case", choices=CASES, default=None, help="one case only, nothing written")
    parser.add_argument("--output", type=pathlib.Path, default=None, help="where to write the JSON result")
    args = parser.parse_args()
    keep_freed_memory()
    cases = QUICK if args.quick else {k: case for k, case in CASES.items() if args.case in (None, k)}
    result: dict[str, Any] = {"machine": machine()}
    for name, case in cases.items():
        num_pairs = 3 if args.quick else min(args.pairs, 10) if case.model is SMOLLM2_135M else args.pairs
        result[name] = {"pairs": num_pairs} | measure(case, num_pairs)
    print(json.dumps(result, indent=2))
    if not args.quick and args.case is None:
        write(result, args.output or RESULTS / f"row_layouts-{jax.default_backend()}.json")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What a train step costs: time, tokens a second and, on GPU, the share of the device's arithmetic that is used.

Claims: on CPU, side by side with the same step in PyTorch (transformers + AdamW, same shapes, full logits), at least
1.3x faster at 3M parameters and 1024 vocabulary, and at least as fast at the shapes of Qwen2.5-0.5B cut to 4 layers.

    python -m benchmarks.step           # writes benchmarks/results/step-PLATFORM.json
    python -m benchmarks.step --quick   # smallest shapes and few steps: does it run?

A step is forward, backward, clipping by global norm and AdamW on cross entropy, float32 (on GPU: bfloat16 products).
PyTorch (extra `dev-peers`), in a process of its own, and JAX take turns; a ratio is the median over those pairs with
its 95% interval. JAX runs as launch/train.py runs it, with memory that stays with the process (`keep_freed_memory`);
PyTorch as it comes, and once more with the same said to its allocator.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.measure import RESULTS, device_peak, machine, ratio, write
from benchmarks.peer import Peer, answer, requests
from benchmarks.shapes import QWEN2_5_0_5B, QWEN2_5_1_5B
from ntl_jax.config import OptimizerSection
from ntl_jax.host_memory import keep_freed_memory
from ntl_jax.metrics.sums import MetricSums
from ntl_jax.models import Decoder, ModelConfig, abstract_decoder, batch_sharding, make_mesh, shardings
from ntl_jax.ops import HeadStats, vocab_head_loss
from ntl_jax.records import Batch, Params, Targets
from ntl_jax.rows.padding import RowShape, pad_rows
from ntl_jax.rows.passes import predictor_states
from ntl_jax.update.objectives import Loss
from ntl_jax.update.optimizer import make_optimizer
from ntl_jax.update.state import TrainState, init_model_state, init_params, init_train_state
from ntl_jax.update.step import Learner, Models, Step, Term, make_step
from ntl_jax.update.token_weights import supervised_weights

MAX_NORM, LEARNING_RATE, WEIGHT_DECAY = 1.0, 1e-4, 0.01
PLAIN, KEPT = "plain", "kept"  # memory that a process frees: back to the system as the C library thinks, or not


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and the rows it is trained on."""

    model: ModelConfig
    num_rows: int
    row_size: int


TINY = ModelConfig(vocab_size=64, num_layers=2, width=32, num_heads=2, num_kv_heads=1, head_dim=16, feed_forward=64)
SMALL = ModelConfig(
    vocab_size=1024, num_layers=4, width=256, num_heads=4, num_kv_heads=2, head_dim=64, feed_forward=640
)
QUICK = {"tiny": Case(TINY, 4, 32)}
ON_CPU = {
    "3m": Case(SMALL, 64, 96),
    "qwen2.5-0.5b-4-layers": Case(dataclasses.replace(QWEN2_5_0_5B, num_layers=4), 4, 256),
}
ON_GPU = {
    "3m": Case(dataclasses.replace(SMALL, compute_dtype="bfloat16"), 256, 512),
    "qwen2.5-0.5b": Case(dataclasses.replace(QWEN2_5_0_5B, compute_dtype="bfloat16", remat="dots"), 16, 1024),
    "qwen2.5-1.5b": Case(dataclasses.replace(QWEN2_5_1_5B, compute_dtype="bfloat16", remat="dots"), 16, 1024),
}


def random_rows(case: Case) -> np.ndarray:
    return np.random.default_rng(0).integers(0, case.model.vocab_size, (case.num_rows, case.row_size), np.int32)


def random_batch(case: Case) -> Batch[Targets]:
    """Full rows: a prompt of one token, then a response."""
    rows = random_rows(case)
    shape = RowShape(case.row_size, case.row_size - 1)
    no_numbers = np.full((case.num_rows, case.row_size - 1), np.nan, np.float32)
    padded, targets = pad_rows(list(rows[:, :1]), list(rows[:, 1:]), shape, numbers=list(no_numbers))
    return Batch(padded, targets, supervised_weights(targets))


def train_step(
    case: Case, mesh: jax.sharding.Mesh, optimizer: optax.GradientTransformation | None = None
) -> tuple[Step, Callable[[Params], TrainState]]:
    """The trainer's own step on cross entropy, and its first state from parameters; with another optimizer if given."""
    section = OptimizerSection(
        learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, max_grad_norm=MAX_NORM, warmup_steps=0,
        schedule="constant",
    )  # fmt: skip
    trained_by = make_optimizer(section, total_steps=10**6) if optimizer is None else optimizer
    graph, shapes = abstract_decoder(case.model)

    def cross_entropy(params: Models, batch: Batch[Targets]) -> Loss:
        decoder = nnx.merge(graph, params["policy"])
        hidden, ids = predictor_states(decoder, batch.rows), jnp.asarray(batch.tokens.ids)
        loss, _ = vocab_head_loss(_weighted, hidden, decoder.head(), ids, jnp.arange(0), batch.weights.loss)
        return Loss(loss, MetricSums({}, {}))

    def begin(params: Params) -> TrainState:
        return init_train_state({"policy": init_model_state(params, trained_by, mesh)}, mesh)

    tokens, terms = case.num_rows * case.row_size, [Term(("policy",), cross_entropy)]
    placement = shardings(jax.eval_shape(begin, shapes), mesh)
    return make_step(terms, {"policy": Learner(trained_by, "step")}, tokens, placement), begin


def random_params(case: Case, mesh: jax.sharding.Mesh) -> Params:
    return init_params(lambda rngs: Decoder(case.model, rngs=rngs), 0, mesh)[1]


def jax_step(case: Case) -> Callable[[], Any]:
    """A turn of the trainer's own step."""
    mesh = make_mesh((-1, 1, 1), jax.devices()[:1])
    step, begin = train_step(case, mesh)
    state = begin(random_params(case, mesh))
    batch = jax.device_put(random_batch(case), batch_sharding(mesh))

    def run() -> None:
        nonlocal state
        state, metrics, _ = step(state, batch)
        jax.block_until_ready((state, metrics))

    return run


def _weighted(stats: HeadStats, weights: jax.Array) -> jax.Array:
    return -stats.log_probs * weights


def serve(name: str, memory: str) -> None:
    """The other process: a step in PyTorch for every request."""
    if memory == KEPT:
        keep_freed_memory()
    run = torch_step({**QUICK, **ON_CPU}[name])
    for _ in requests():
        run()
        answer()


def torch_step(case: Case) -> Callable[[], Any]:
    """The same in PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]
    from transformers import Qwen2Config, Qwen2ForCausalLM

    model = Qwen2ForCausalLM(Qwen2Config(**case.model.to_hf())).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    tokens = torch.from_numpy(np.asarray(random_rows(case), np.int64))

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        logits = model(tokens, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()

    return run


def flops(case: Case) -> float:
    """Of forward and backward: 6 a token and matrix weight, and causal attention; recomputation does not count."""
    model = case.model
    attention = model.width * model.head_dim * (2 * model.num_heads + 2 * model.num_kv_heads)
    per_layer = attention + 3 * model.width * model.feed_forward
    weights = model.num_layers * per_layer + model.width * model.vocab_size
    scores = model.num_layers * model.num_heads * model.head_dim * case.row_size  # half of twice: q k and a v
    return 6.0 * case.num_rows * case.row_size * (weights + scores)


def median_seconds(run: Callable[[], Any], num_steps: int) -> float:
    run()
    times = []
    for _ in range(num_steps):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def over_torch(name: str, memory: str, step: Callable[[], Any], num_steps: int) -> dict[str, float]:
    """How many times PyTorch's speed ours is, and the seconds of both."""
    with contextlib.closing(Peer("benchmarks.step", ["--serve", name, memory])) as peer:
        pair = ratio(peer.turn, step, num_steps)
    speedup = {"speedup": 1 / pair["ratio"], "low": 1 / pair["high"], "high": 1 / pair["low"]}
    seconds = {"torch_step_s": pair["baseline_s"], "step_s": pair["candidate_s"]}
    return {name: round(value, 4) for name, value in (speedup | seconds).items()}


def measure(name: str, case: Case, num_steps: int) -> dict[str, Any]:
    """One case: beside PyTorch on CPU where it is installed, else alone."""
    step = jax_step(case)
    result: dict[str, Any] = {"model": dataclasses.asdict(case.model), "rows": [case.num_rows, case.row_size]}
    if jax.default_backend() == "cpu" and importlib.util.find_spec("torch"):
        result["over_torch"] = over_torch(name, PLAIN, step, num_steps)
        result["over_torch_with_kept_memory"] = over_torch(name, KEPT, step, num_steps)
        seconds = result["over_torch"]["step_s"]
    else:
        seconds = median_seconds(step, num_steps)
    peak = device_peak()
    return result | {
        "step_s": round(seconds, 4),
        "tokens_per_s": round(case.num_rows * case.row_size / seconds),
        "flops_per_s": flops(case) / seconds,
        "mfu": peak and round(flops(case) / seconds / peak.flops_per_s, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="What a train step costs.")
    parser.add_argument("--quick", action="store_true", help="smallest shapes, few steps, nothing written")
    parser.add_argument("--steps", type=int, default=30, help="measured steps, on CPU alternating with PyTorch's")
    parser.add_argument("--case", default=None, help="one case only, written only with --output")
    parser.add_argument("--output", type=pathlib.Path, default=None, help="where to write the JSON result")
    parser.add_argument("--serve", nargs=2, metavar=("CASE", "MEMORY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(*args.serve)
    keep_freed_memory()

    cases = QUICK if args.quick else ON_CPU if jax.default_backend() == "cpu" else ON_GPU
    chosen = {name: case for name, case in cases.items() if args.case in (None, name)}
    num_steps = 3 if args.quick else args.steps
    result: dict[str, Any] = {"machine": machine(), "steps": num_steps}
    result |= {name: measure(name, case, num_steps) for name, case in chosen.items()}
    print(json.dumps(result, indent=2))
    if args.output or (not args.quick and args.case is None):
        write(result, args.output or RESULTS / f"step-{jax.default_backend()}.json")


if __name__ == "__main__":
    main()

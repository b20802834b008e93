# SPDX-License-Identifier: Apache-2.0
"""Where the parts of an update point: their cosine with the supervised gradient on the right answers.

For policies of `benchmarks.ntl_effect` before, within and after policy optimization on products: the surrogate of
different rewards and the actor's Number Token Loss, on samples of training problems, beside the gradient of the cross
entropy of the true answers to the same problems. A part that is mostly noise has a small cosine with itself on other
problems.

    python -m benchmarks.gradient_directions           # two runs; writes results/gradient_directions.json
    python -m benchmarks.gradient_directions --quick   # a start of few updates and few problems; nothing is written
"""

import argparse
import json
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from benchmarks.effect_runs import OPERATIONS, launch, train, trained_start, write_files
from benchmarks.measure import RESULTS, machine, write
from benchmarks.ntl_effect import ARMS, TAU
from ntl_jax.data.tokenizer import Tokenizer, load_tokenizer
from ntl_jax.losses import group_advantages, number_token_wasserstein
from ntl_jax.models import Decoder, load_hf, make_mesh
from ntl_jax.numerals import NumberTable, TokenDecoder, find_answer, label_response, number_targets, sampled_numbers
from ntl_jax.ops import HeadStats, vocab_head_dense
from ntl_jax.records import Prompt, Sampling, Trajectory, Version, Weights
from ntl_jax.rewards import exact_match, relative_closeness
from ntl_jax.rollout import JaxEngine
from ntl_jax.tasks.calculations import Calculations

TASK, SEED, RATE = "products", 0, 1e-4
NUM_PROMPTS, NUM_SAMPLES, MAX_TOKENS = 512, 8, 8
"""Of the samples; each half of the prompts gives a gradient of its own."""
REWARDS: dict[str, Callable[[str, str], float]] = {
    "surrogate, exact": lambda text, truth: exact_match("", text, truth),
    "surrogate, closeness": lambda text, truth: relative_closeness("", text, truth, tau=TAU)["score"],
}
SUPERVISED = "cross entropy of the true answers"


class Batch(NamedTuple):
    """Samples of some prompts, and the true answers to them. Ids are [B, S], the rest [B, S - 1], of predicted tokens.

    Args:
        ids: prompts with responses.
        is_response: which tokens are the responses'.
        targets: true digits of the actor's term; NaN elsewhere.
        advantages: by reward.
        true_ids, is_solution: the same of the true answers.
    """

    ids: Array
    is_response: Array
    targets: Array
    advantages: dict[str, Array]
    true_ids: Array
    is_solution: Array


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        write_files(folder)
        if args.quick:
            print(json.dumps(cosines(trained_start(TASK, SEED, folder, steps=2), num_prompts=8), indent=1))
            return
        start = trained_start(TASK, SEED, folder)
        result = {"start": cosines(start)}
        for arm in ("exact", "closeness"):
            for steps in (50, 100):
                run, policy = folder / f"{arm}-{steps}", folder / f"{arm}-{steps}-policy"
                settings = (
                    f"--config.model.path={start}",
                    "--config.warm_start.steps=0",
                    f"--config.algorithm.optimizer.learning_rate={RATE}",
                    "--config.algorithm.optimizer.schedule=constant",
                    f"--config.trainer.steps={steps}",
                )
                train("gsm8k_ntl", run, TASK, SEED, [*settings, *ARMS[arm]])
                launch("export", str(run), str(policy))
                result[f"{arm}, {steps} iterations"] = cosines(policy)
        write({"machine": machine()} | result, RESULTS / "gradient_directions.json")


def cosines(policy: pathlib.Path, num_prompts: int = NUM_PROMPTS) -> dict[str, dict[str, float]]:
    """By part of an update: the cosine with the supervised gradient, with itself on other problems, and its norm."""
    decoder = load_hf(policy)
    graph, params = nnx.split(decoder, nnx.Param)
    tokenizer = load_tokenizer(str(policy))
    table = NumberTable.from_tokenizer(tokenizer, vocab_size=decoder.config.vocab_size)
    halves = [_sampled(decoder, tokenizer, table, part) for part in np.arange(num_prompts).reshape(2, -1).tolist()]

    def stats_of(params: nnx.State, ids: Array) -> HeadStats:
        decoder = nnx.merge(graph, params)
        return vocab_head_dense(
            decoder(ids[:, :-1]), decoder.head(), ids[:, 1:], table.ids, num_tokens=decoder.config.num_tokens
        )

    def mean(values: Array, mask: Array) -> Array:
        return jnp.sum(jnp.where(mask, values, 0.0)) / jnp.sum(mask)

    def supervised(params: nnx.State, batch: Batch) -> Array:
        return mean(-stats_of(params, batch.true_ids).log_probs, batch.is_solution)

    def actor(params: nnx.State, batch: Batch) -> Array:
        losses = number_token_wasserstein(stats_of(params, batch.ids).number_log_probs, batch.targets, table.values)
        return mean(losses, ~jnp.isnan(batch.targets))

    def surrogate(reward: str) -> Callable[[nnx.State, Batch], Array]:
        return lambda params, batch: mean(
            -batch.advantages[reward][:, None] * stats_of(params, batch.ids).log_probs, batch.is_response
        )

    parts = {SUPERVISED: supervised, "actor's term": actor} | {reward: surrogate(reward) for reward in REWARDS}
    gradients = {}
    for name, loss in parts.items():
        gradient = jax.jit(jax.grad(loss))
        gradients[name] = [np.asarray(ravel_pytree(gradient(params, half))[0], np.float64) for half in halves]
    whole = {name: np.mean(of_halves, axis=0) for name, of_halves in gradients.items()}
    return {
        name: {
            "with the supervised gradient": _cosine(gradient, whole[SUPERVISED]),
            "with itself on other problems": _cosine(*gradients[name]),
            "norm": float(f"{np.linalg.norm(gradient):.3g}"),
        }
        for name, gradient in whole.items()
    }


def _sampled(decoder: Decoder, tokenizer: Tokenizer, table: NumberTable, indices: Sequence[int]) -> Batch:
    """Samples of training problems with these numbers."""
    task = Calculations(
        num_train=max(indices) + 1, num_held_out=0, seed=SEED, max_number=99, operations=(OPERATIONS[TASK],)
    )
    problems = task.load("train")[0]
    prompts = []
    for problem in (problems[i] for i in indices):
        ids = np.array(tokenizer.encode(f"{problem.text}\n"), np.int32)
        prompts.append(Prompt(problem.index, ids, problem.text, problem.ground_truth))
    engine = JaxEngine(
        decoder.config, table, mesh=make_mesh((1, 1, 1), jax.devices()[:1]), slots=512, max_prompt_tokens=32
    )
    engine.publish(Weights(Version(0), nnx.state(decoder, nnx.Param)))
    end = tokenizer.eos_token_id
    assert isinstance(end, int)
    sampling = Sampling(NUM_SAMPLES, MAX_TOKENS, stop_token_ids=(end,))
    trajectories = engine.generate(prompts, sampling, seed=SEED)
    truths = [prompt.ground_truth for prompt in prompts for _ in range(NUM_SAMPLES)]
    decode = TokenDecoder(tokenizer)
    texts = [decode(trajectory.response_ids)[0] for trajectory in trajectories]
    groups = jnp.repeat(jnp.arange(len(prompts)), NUM_SAMPLES)
    advantages = {}
    for name, reward in REWARDS.items():
        scores = jnp.array([reward(text, truth) for text, truth in zip(texts, truths, strict=True)])
        advantages[name] = group_advantages(scores, groups)
    solutions = [np.array([*tokenizer.encode(prompt.ground_truth), end], np.int32) for prompt in prompts]
    ids, is_response = _rows([(t.prompt_ids, t.response_ids) for t in trajectories])
    true_ids, is_solution = _rows([(p.ids, solution) for p, solution in zip(prompts, solutions, strict=True)])
    targets = np.full(is_response.shape, np.nan, np.float32)
    for row, (trajectory, truth) in enumerate(zip(trajectories, truths, strict=True)):
        targets[row, is_response[row]] = _targets(trajectory, decode, table, truth)
    place = jnp.asarray
    return Batch(place(ids), place(is_response), place(targets), advantages, place(true_ids), place(is_solution))


def _targets(trajectory: Trajectory, decode: TokenDecoder, table: NumberTable, truth: str) -> Float[np.ndarray, "T"]:
    text, starts = decode(trajectory.response_ids)
    numbers = sampled_numbers(trajectory.response_ids, np.asarray(table.token_values))
    return number_targets(label_response(text, starts, numbers, truth, answer=find_answer(text)).prefix_truth)


def _rows(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Ids padded on the right, and which of the predicted tokens come from the second of each pair."""
    size = max(len(first) + len(second) for first, second in pairs)
    ids, second = np.zeros((len(pairs), size), np.int32), np.zeros((len(pairs), size), bool)
    for row, (begin, rest) in enumerate(pairs):
        end = len(begin) + len(rest)
        ids[row, :end] = [*begin, *rest]
        second[row, len(begin) : end] = True
    return ids, second[:, 1:]


def _cosine(x: np.ndarray, y: np.ndarray) -> float:
    """0 where a gradient is 0."""
    sizes = np.linalg.norm(x) * np.linalg.norm(y)
    return round(float(x @ y / sizes), 3) if sizes else 0.0


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What the losses cost: Number Token Loss beside cross entropy, and the vocabulary head beside its dense form.

Claims: on logits [8, 256, 32000] float32, forward and backward, NTL adds at most 2% (5% of the labels numbers) and 5%
(30%) to cross entropy, and each number-aware loss that came after it at most 2%; the fused vocabulary head (D=896,
V=151,936, N=2,048) needs no more time than the dense one, and at most an eighth of its temporary memory. Where `ntloss`
and torch are installed (extra `dev-peers`), the same is measured for them, each against its own framework's cross
entropy.

    python -m benchmarks.losses           # writes benchmarks/results/losses-PLATFORM.json
    python -m benchmarks.losses --quick   # small shapes and few pairs: does it run?

Every ratio is the median over pairs taken in alternation in one run, with the 95% interval of that median. Cross
entropy against itself is measured too: it says what a ratio of 1 looks like on this machine.
"""

import argparse
import importlib.util
import json
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from benchmarks.measure import RESULTS, machine, ratio, write
from ntl_jax.losses import (
    digit_entropy,
    number_token_dist2,
    number_token_gaussian,
    number_token_loss,
    number_token_mse,
    number_token_raft,
    number_token_real,
    number_token_smmd,
    number_token_wasserstein,
    numeral_ntil,
)
from ntl_jax.numerals import NumberTable
from ntl_jax.ops import HeadStats, vocab_head, vocab_head_dense, vocab_head_loss

Extra = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""(logits, their log-sum-exp, labels) -> losses that are added to the cross entropy."""
NumberTokenLoss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""(logits or log-probs of the number tokens, targets, values) -> losses."""

NTL_WEIGHT = 0.3  # the paper's best
NUMBER_SHARES = (0.05, 0.3)


def labels_with_numbers(shape: tuple[int, int], ids: np.ndarray, vocab_size: int, share: float) -> np.ndarray:
    """Random labels, the given share of them number tokens."""
    rng = np.random.default_rng(0)
    others = np.setdiff1d(np.arange(vocab_size), ids)
    return np.where(rng.random(shape) < share, rng.choice(ids, shape), rng.choice(others, shape))


def cross_entropy(logits: jax.Array, log_normalizer: jax.Array, labels: jax.Array) -> jax.Array:
    return log_normalizer - jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]


def measure_number_tokens(shape: tuple[int, int, int], num_pairs: int) -> dict[str, object]:
    """Cross entropy with NTL over cross entropy alone, forward and backward, by share of number labels."""
    vocab_size = shape[-1]
    table = NumberTable.from_vocab({str(d): 15 + d for d in range(10)}, vocab_size=vocab_size)
    logits = jax.random.normal(jax.random.key(0), shape) * 2
    extras: dict[str, Extra | None] = {
        "nothing": None,
        "ntl_wasserstein": lambda z, _, labels: number_token_loss(z, labels, table),
        "ntl_mse": lambda z, _, labels: number_token_loss(z, labels, table, loss=number_token_mse),
        "ntl_wasserstein_with_mass": lambda z, _, labels: number_token_loss(z, labels, table, mass_term=True),
        **later_losses(table),
    }

    def step_with(extra: Extra | None) -> Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
        def loss(logits: Float[jax.Array, "B T V"], labels: Int[jax.Array, "B T"]) -> Float[jax.Array, ""]:
            log_normalizer = jax.nn.logsumexp(logits, axis=-1)
            per_token = cross_entropy(logits, log_normalizer, labels)
            if extra is not None:
                per_token += NTL_WEIGHT * extra(logits, log_normalizer, labels)
            return jnp.mean(per_token)

        return jax.jit(jax.value_and_grad(loss))

    results: dict[str, object] = {}
    for share in NUMBER_SHARES:
        labels = jnp.asarray(labels_with_numbers(shape[:2], np.asarray(table.ids), vocab_size, share))
        baseline = step_with(None)
        for name, extra in extras.items():
            step = step_with(extra)
            results[f"{name}_at_{share:.0%}"] = ratio(
                lambda labels=labels, step=baseline: jax.block_until_ready(step(logits, labels)),
                lambda labels=labels, step=step: jax.block_until_ready(step(logits, labels)),
                num_pairs,
            )
    return results


def later_losses(table: NumberTable) -> dict[str, Extra]:
    """The losses that came after NTL, on logits or on log-probs over the whole vocabulary, as they need them."""

    def of_logits(loss: NumberTokenLoss) -> Extra:
        return lambda z, _, labels: number_token_loss(z, labels, table, loss=loss)

    def of_log_probs(loss: NumberTokenLoss) -> Extra:
        def extra(z: jax.Array, log_normalizer: jax.Array, labels: jax.Array) -> jax.Array:
            log_probs = z[..., table.ids] - log_normalizer[..., None]
            return loss(log_probs, table.token_values[labels], table.values)

        return extra

    def ntil(z: jax.Array, _: jax.Array, labels: jax.Array) -> jax.Array:
        """Both levels; every run of digits is a number, whose term stands at its first places in the row."""
        targets = table.token_values[labels]
        is_digit = ~jnp.isnan(targets)
        starts = is_digit & ~jnp.pad(is_digit, ((0, 0), (1, 0)))[:, :-1]
        numerals = jnp.where(is_digit, jnp.cumsum(starts, axis=1) - 1, -1)
        digits, num_numerals = jnp.where(is_digit, targets, 0.0).astype(jnp.int32), labels.shape[1] // 2
        logits, places = z[..., table.ids], jnp.zeros_like(digits)
        whole = numeral_ntil(logits, digits, places, numerals, num_numerals=num_numerals)
        distances = number_token_wasserstein(logits, targets, table.values)
        return distances + jnp.pad(whole, ((0, 0), (0, labels.shape[1] - num_numerals)))

    return {
        "dist2": of_logits(number_token_dist2),
        "gaussian": of_log_probs(number_token_gaussian),
        "smmd": of_logits(number_token_smmd),
        "raft": of_log_probs(number_token_raft),
        "real": of_log_probs(number_token_real),
        "digit_entropy": of_logits(digit_entropy),
        "ntil": ntil,
    }


def measure_ntloss(shape: tuple[int, int, int], num_pairs: int) -> dict[str, object]:
    """The same for the PyTorch package `ntloss`, against torch's own cross entropy."""
    import torch  # pyright: ignore[reportMissingImports]
    from ntloss.core import NTLoss  # pyright: ignore[reportMissingImports]
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocab_size = shape[-1]
    vocab = {f"<{i}>": i for i in range(vocab_size) if not 15 <= i < 25} | {str(d): 15 + d for d in range(10)}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(vocab, unk_token="<0>")))
    logits = torch.randn(shape).mul_(2).requires_grad_()
    extras = {
        "nothing": None,
        "ntl_wasserstein": NTLoss(tokenizer, vocab_size=vocab_size, reweigh=False),
        "ntl_wasserstein_with_mass": NTLoss(tokenizer, vocab_size=vocab_size, reweigh=True),
    }

    def step(extra: NTLoss | None, labels: torch.Tensor) -> None:
        logits.grad = None
        loss = torch.nn.functional.cross_entropy(logits.view(-1, vocab_size), labels.view(-1))
        if extra is not None:
            loss = loss + NTL_WEIGHT * extra(logits, labels)
        loss.backward()

    results: dict[str, object] = {}
    for share in NUMBER_SHARES:
        labels = torch.from_numpy(labels_with_numbers(shape[:2], np.arange(15, 25), vocab_size, share))
        for name, extra in extras.items():
            results[f"{name}_at_{share:.0%}"] = ratio(
                lambda labels=labels: step(None, labels),
                lambda labels=labels, extra=extra: step(extra, labels),
                num_pairs,
            )
    return results


def measure_vocab_head(
    width: int, vocab_size: int, num_rows: int, chunk_size: int | None, num_pairs: int
) -> dict[str, object]:
    """Log-prob + entropy + ten digits, value and gradient: each form over the dense one, time and temporaries."""
    keys = jax.random.split(jax.random.key(0), 3)
    hidden = jax.random.normal(keys[0], (num_rows, width))
    head = jax.random.normal(keys[1], (width, vocab_size)) * 0.05
    targets = jax.random.randint(keys[2], (num_rows,), 0, vocab_size)
    digits = jnp.arange(15, 25)

    def per_token(stats: HeadStats, _: tuple[()] = ()) -> Float[jax.Array, "C"]:
        expected_digit = jnp.sum(jnp.exp(stats.number_log_probs) * jnp.arange(10.0)[None, :], axis=-1)
        return (-stats.log_probs - 0.01 * stats.entropy + NTL_WEIGHT * expected_digit) / num_rows

    def fused(hidden: Float[jax.Array, "N D"], head: Float[jax.Array, "D V"]) -> Float[jax.Array, ""]:
        return vocab_head_loss(per_token, hidden, head, targets, digits, chunk_size=chunk_size)[0]

    forms: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
        "dense": lambda h, w: jnp.sum(per_token(vocab_head_dense(h, w, targets, digits))),
        "vocab_head": lambda h, w: jnp.sum(per_token(vocab_head(h, w, targets, digits, chunk_size=chunk_size))),
        "vocab_head_loss": fused,
        "vocab_head_loss_tied": lambda h, embedding: fused(h, embedding.T),
    }
    weights = {name: head.T + 0 if name.endswith("_tied") else head for name in forms}
    steps = {
        name: jax.jit(jax.value_and_grad(form, argnums=(0, 1))).lower(hidden, weights[name]).compile()
        for name, form in forms.items()
    }

    def run(name: str) -> Callable[[], object]:
        return lambda: jax.block_until_ready(steps[name](hidden, weights[name]))

    memory = {name: temporary_bytes(step) for name, step in steps.items()}
    return {
        name: {
            **ratio(run("dense"), run(name), num_pairs),
            "temporary_bytes": memory[name],
            "memory_ratio": round(memory[name] / memory["dense"], 4),
        }
        for name in forms
    }


def temporary_bytes(step: jax.stages.Compiled) -> int:
    """What the compiled program holds beside its arguments and results."""
    memory = step.memory_analysis()
    assert memory is not None
    return memory.temp_size_in_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description="What the losses cost.")
    parser.add_argument("--quick", action="store_true", help="small shapes and few pairs")
    parser.add_argument("--pairs", type=int, default=100, help="alternating pairs for each ratio of the losses")
    parser.add_argument("--head-pairs", type=int, default=5, help="alternating pairs for each ratio of the head")
    parser.add_argument("--chunk-size", type=int, default=None, help="positions per chunk of the head; its own default")
    parser.add_argument("--output", type=pathlib.Path, default=None, help="where to write the JSON result")
    args = parser.parse_args()

    logits_shape = (2, 32, 1000) if args.quick else (8, 256, 32_000)
    head_shape = (64, 4000, 256) if args.quick else (896, 151_936, 2048)
    num_pairs, num_head_pairs = (5, 2) if args.quick else (args.pairs, args.head_pairs)
    result = {"machine": machine(), "logits_shape": logits_shape, "pairs": num_pairs}
    result["number_tokens"] = measure_number_tokens(logits_shape, num_pairs)
    if importlib.util.find_spec("ntloss") and importlib.util.find_spec("torch"):
        result["ntloss"] = measure_ntloss(logits_shape, num_pairs)
    result["head_shape_d_v_n"], result["chunk_size"], result["head_pairs"] = head_shape, args.chunk_size, num_head_pairs
    result["vocab_head"] = measure_vocab_head(*head_shape, args.chunk_size, num_head_pairs)
    print(json.dumps(result, indent=2))
    if not args.quick or args.output:
        write(result, args.output or RESULTS / f"losses-{jax.default_backend()}.json")


if __name__ == "__main__":
    main()

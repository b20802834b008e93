# SPDX-License-Identifier: Apache-2.0
"""A row of `benchmarks/gpu.sh`: cuDNN's attention beside XLA's in the train step, values and gradients."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax

from benchmarks.shapes import QWEN2_5_0_5B, QWEN2_5_1_5B
from benchmarks.step import TINY, Case, random_params, train_step
from benchmarks.verdicts import Verdict, at_most
from ntl_jax.models import ModelConfig, batch_sharding, make_mesh
from ntl_jax.records import Batch, Targets
from ntl_jax.rows.packing import pack
from ntl_jax.rows.padding import RowShape, pad_rows
from ntl_jax.update.token_weights import supervised_weights

Found = tuple[list[Verdict], dict[str, Any]]
"""A row's verdicts, and further numbers for its file."""

MOST_VALUE_ERROR = 2e-3  # of a loss in bfloat16, relative
MOST_OVER_XLA = 1.5  # a kernel's distance from the float32 gradient, over that of XLA's attention in bfloat16
MOST_DRY_ERROR = 1e-5  # relative, between two paths in float32


def half_rows(num_rows: int, longest: int) -> Batch[Targets]:
    """Sequences of different lengths, padded to the longest."""
    rng = np.random.default_rng(0)
    lengths = [longest, *rng.integers(longest // 2, longest, num_rows - 1).tolist()]
    rows = [rng.integers(0, TINY.vocab_size, length).astype(np.int32) for length in lengths]
    nothing = [np.full(length - 1, np.nan, np.float32) for length in lengths]
    shape = RowShape(longest, longest - 1)
    padded, targets = pad_rows([row[:1] for row in rows], [row[1:] for row in rows], shape, numbers=nothing)
    return Batch(padded, targets, supervised_weights(targets))


def packed(batch: Batch[Targets], row_size: int) -> Batch[Targets]:
    """The same sequences, several to a row."""
    wide = jax.tree.map(lambda x: np.pad(x, ((0, 0), (0, row_size - batch.rows.shape[1]))), batch)
    return pack(wide)


def loss_and_gradient(model: ModelConfig, batch: Batch[Targets]) -> tuple[float, list[np.ndarray]]:
    """Of one train step; momentum of decay 0 is the gradient."""
    case = Case(model, *batch.rows.shape)
    mesh = make_mesh((-1, 1, 1), jax.devices()[:1])
    step, begin = train_step(case, mesh, optax.sgd(0.0, momentum=0.0))
    state, metrics, _ = step(begin(random_params(case, mesh)), jax.device_put(batch, batch_sharding(mesh)))
    gradient = [np.asarray(x, np.float32) for x in jax.tree.leaves(state.policy.opt_state)]
    return metrics.to_dict()["step/loss"], gradient


def distance(gradient: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> float:
    """Norm of the difference over that of the truth."""
    differences = [a - b for a, b in zip(gradient, truth, strict=True)]
    difference, whole = (sum(np.sum(x**2, dtype=np.float64) for x in xs) for xs in (differences, truth))
    return float(np.sqrt(difference / whole))


def attention(dry: bool) -> Found:
    """cuDNN's attention beside XLA's: loss and gradient of a step on padded and on packed rows."""
    if dry:
        return attention_on_cpu()
    verdicts, details = [], {}
    for name, shape in {"heads of 64": QWEN2_5_0_5B, "heads of 128": QWEN2_5_1_5B}.items():
        model = dataclasses.replace(shape, num_layers=4, vocab_size=8192, compute_dtype="bfloat16", attention="xla")
        padded = half_rows(32, 512)
        with jax.default_matmul_precision("highest"):
            true_loss, truth = loss_and_gradient(dataclasses.replace(model, compute_dtype="float32"), padded)
        of_xla = distance(loss_and_gradient(model, padded)[1], truth)
        for layout, batch in {"padded": padded, "packed": packed(padded, 1024)}.items():
            loss, gradient = loss_and_gradient(dataclasses.replace(model, attention="cudnn"), batch)
            error, over = abs(loss - true_loss) / true_loss, distance(gradient, truth) / of_xla
            where = f"cuDNN, {name}, {layout} rows"
            verdicts.append(at_most(f"{where}: relative error of the loss", error, MOST_VALUE_ERROR))
            verdicts.append(at_most(f"{where}: gradient's error over that of XLA's attention", over, MOST_OVER_XLA))
        details[f"{name}: error of the gradient with XLA's attention"] = of_xla
    return verdicts, details


def attention_on_cpu() -> Found:
    """There is no cuDNN: XLA's dense scores beside XLA's blocks, which rows of more than 1024 positions take."""
    model = dataclasses.replace(TINY, attention="xla")
    padded = half_rows(4, 520)
    loss, gradient = loss_and_gradient(model, packed(padded, 1040))
    true_loss, truth = loss_and_gradient(model, padded)
    where = "dry: no cuDNN; XLA's blocks on packed rows beside its dense scores on padded rows"
    error = abs(loss - true_loss) / true_loss
    return [
        at_most(f"{where}: relative error of the loss", error, MOST_DRY_ERROR),
        at_most(f"{where}: of the gradient", distance(gradient, truth), MOST_DRY_ERROR),
    ], {}

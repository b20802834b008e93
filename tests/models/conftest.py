# SPDX-License-Identifier: Apache-2.0
"""Small checkpoints that transformers wrote, with its own logits and gradients (tools/make_golden_models.py)."""

import pathlib
from typing import NamedTuple

import numpy as np
import pytest

from ntl_jax.models import Decoder, load_hf

FOLDERS = sorted(path for path in (pathlib.Path(__file__).parent / "golden").iterdir() if path.is_dir())


class Golden(NamedTuple):
    """A loaded checkpoint and what transformers computes with it: rows of tokens padded on the right, their logits."""

    folder: pathlib.Path
    decoder: Decoder
    tokens: np.ndarray
    lengths: np.ndarray
    logits: np.ndarray
    gradients: dict[str, np.ndarray]

    @property
    def mask(self) -> np.ndarray:
        return np.arange(self.tokens.shape[1])[None, :] < self.lengths[:, None]


@pytest.fixture(scope="session", params=FOLDERS, ids=lambda path: path.name)
def golden(request) -> Golden:
    with np.load(request.param / "golden.npz") as data:
        arrays = dict(data)
    gradients = {name.removeprefix("gradient/"): x for name, x in arrays.items() if name.startswith("gradient/")}
    rows = {name: arrays[name] for name in ("tokens", "lengths", "logits")}
    return Golden(request.param, load_hf(request.param), **rows, gradients=gradients)

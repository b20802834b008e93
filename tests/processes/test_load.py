# SPDX-License-Identifier: Apache-2.0
"""Of several processes each reads its share of a model's file alone."""

import pytest
from flax import nnx

from ntl_jax.models import Decoder, ModelConfig, save_hf
from tests.processes.programs import __file__ as programs
from tests.processes.together import together

pytestmark = [pytest.mark.processes, pytest.mark.timeout(700)]


def test_a_process_reads_its_share_of_every_tensor_once_and_in_whole_rows(tmp_path):
    """A row's columns are shorter than what a disk reads at a time: of a range of them it would read the whole file."""
    config = ModelConfig(
        vocab_size=512,
        num_layers=2,
        width=128,
        num_heads=8,
        num_kv_heads=4,
        head_dim=16,
        feed_forward=256,
        tie_embeddings=False,
    )
    save_hf(Decoder(config, rngs=nnx.Rngs(0)), tmp_path / "model")
    whole = 4 * config.num_params
    for process in together(2, programs, "loads", str(tmp_path / "model")):
        lines = [line.split() for line in process.out.splitlines() if line[:1] in "-12"]  # not those of Gloo
        shares = [int(share) for *_, share in lines]
        of_parts, of_all = shares[:3] + shares[5:8], shares[3:5] + shares[8:]
        assert len(shares) == 10 and set(of_all) == {whole}
        assert all(whole / 2 <= share < 0.51 * whole for share in of_parts)

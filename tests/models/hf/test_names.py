# SPDX-License-Identifier: Apache-2.0
"""Hugging Face's names and layouts: every parameter has one, and is read from it in parts."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from ntl_jax.models import Critic, Decoder, ModelConfig, make_mesh, shardings
from ntl_jax.models.hf.names import TABLE, hf_layout, hf_tensors
from ntl_jax.models.parameters import PARAMETERS

SMALL = ModelConfig(
    vocab_size=64,
    num_layers=1,
    width=32,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    feed_forward=64,
    tie_embeddings=False,
)


class Counting:
    """A stored tensor that counts the numbers that are read from it."""

    def __init__(self, array: np.ndarray):
        self.array, self.num_read = array, 0

    def __getitem__(self, part: tuple[slice, ...]) -> np.ndarray:
        read = self.array[part]
        self.num_read += read.size
        return read


@pytest.mark.parametrize("mesh_shape", [(1, 4, 1), (1, 1, 2), (2, 2, 2)], ids=str)
def test_only_the_part_of_a_tensor_that_a_device_needs_is_read(mesh_shape):
    params = nnx.state(Decoder(SMALL, rngs=nnx.Rngs(0)), nnx.Param)
    placement = jax.tree.leaves(shardings(params, make_mesh(mesh_shape)))
    for tensor, leaf, sharding in zip(hf_layout(params), jax.tree.leaves(params), placement, strict=True):
        for part in sharding.devices_indices_map(leaf.shape).values():
            stored = Counting(tensor.to_theirs(np.asarray(leaf)))
            np.testing.assert_array_equal(tensor.read(stored, part), leaf[part])
            assert stored.num_read == leaf[part].size


CONFIG = ModelConfig(vocab_size=64, num_layers=2, width=32, num_heads=4, num_kv_heads=2, head_dim=8, feed_forward=64)


def critic_of(architecture: str, *, tie_embeddings: bool):
    """Parameters of a policy and a value head, as shapes."""
    config = dataclasses.replace(CONFIG, architecture=architecture, tie_embeddings=tie_embeddings)
    return nnx.eval_shape(lambda: nnx.state(Critic(config, rngs=nnx.Rngs(0)), nnx.Param))


def test_hugging_face_has_a_name_for_every_parameter_of_the_policy():
    assert {row.ours.rpartition(".")[2] for row in TABLE} == PARAMETERS.keys() - {"value_head"}
    with pytest.raises(ValueError, match=r"^value_head: no Hugging Face name; add a row to TABLE"):
        hf_layout({"value_head": critic_of("Qwen2ForCausalLM", tie_embeddings=True)["value_head"]})


@pytest.mark.parametrize("architecture", ["Qwen2ForCausalLM", "Qwen3ForCausalLM"])
def test_what_is_stored_reads_back_as_it_was(architecture):
    decoder = Decoder(dataclasses.replace(SMALL, architecture=architecture), rngs=nnx.Rngs(0))
    params = nnx.state(decoder, nnx.Param)
    stored = dict(hf_tensors(decoder))
    for tensor, leaf in zip(hf_layout(params), jax.tree.leaves(params), strict=True):
        assert stored[tensor.name].shape == tensor.stored_shape
        np.testing.assert_array_equal(tensor.read(stored[tensor.name], (slice(None),) * leaf.ndim), leaf)
    assert stored["model.layers.0.self_attn.k_proj.weight"].shape == (2 * 8, 32)

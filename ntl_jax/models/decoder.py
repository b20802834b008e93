# SPDX-License-Identifier: Apache-2.0
"""The policy's decoder. It returns hidden states: the vocabulary head belongs to ``ntl_jax.ops``."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

from ntl_jax.models.attention.rows import row_attention
from ntl_jax.models.config import ModelConfig
from ntl_jax.models.layers import Attend, Layer, RMSNorm, matrix
from ntl_jax.models.rotary import rotary_angles, rotary_frequencies
from ntl_jax.models.sharding import constrain, gathered
from ntl_jax.models.stacking import layers_of, stacked_layers

EMBEDDING_STD = 0.02  # the initial scale of Qwen2 and Llama: near-uniform first predictions from a tied head
SAVED = {
    # In a scan only: the backward pass of a scan that saves everything reads the same results several times, before and
    # after each reshape, and takes twice the memory. Recomputing what lies between products is as fast.
    "none": jax.checkpoint_policies.dots_saveable,
    "layer": None,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


class Decoder(nnx.Module):
    """Decoder from token ids to hidden states: Qwen2, Qwen3, Llama or Mistral, depending on the configuration.

    Args:
        config: shapes and numerics.
        rngs: ``nnx.Rngs(params=seed)``.

    Example:
        >>> sizes = {"width": 16, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "feed_forward": 32}
        >>> config = ModelConfig(vocab_size=32, num_layers=1, **sizes)
        >>> decoder = Decoder(config, rngs=nnx.Rngs(0))
        >>> decoder(jnp.array([[3, 1, 4, 1, 5]])).shape, decoder.head().shape
        ((1, 5, 16), (16, 32))
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        embedding = jax.random.normal(rngs.params(), (config.vocab_size, config.width)) * EMBEDDING_STD
        self.embedding = nnx.Param(embedding.astype(config.param_dtype))
        self.stack = stacked_layers(config, rngs) if config.scan_layers else None
        separate = 0 if config.scan_layers else config.num_layers
        self.layers = nnx.List([Layer(config, rngs=rngs) for _ in range(separate)])
        self.final_norm = RMSNorm(config.width, config.norm_eps, config.param_dtype)
        shape = (config.vocab_size, config.width)
        self.unembedding = (
            None if config.tie_embeddings else matrix(rngs, *shape, fan_in=config.width, dtype=config.param_dtype)
        )

    def __call__(
        self,
        tokens: Int[Array, "B S"],
        *,
        positions: Int[Array, "B S"] | None = None,
        segment_ids: Int[Array, "B S"] | None = None,
    ) -> Float[Array, "B S D"]:
        """Hidden states of right-padded or packed rows.

        Args:
            tokens: ids in [0, V).
            positions: position of each token in its sequence; None: 0, 1, 2, ...
            segment_ids: tokens attend within their segment; 0 is padding. None: one segment per row, which also works
                for rows padded on the right: no token sees later positions.

        Returns:
            Normalized hidden states in the compute dtype, ready for the vocabulary head.
        """
        if positions is None:
            positions = jnp.broadcast_to(jnp.arange(tokens.shape[1])[None, :], tokens.shape)
        attend = row_attention(self.config.attention, segment_ids)
        return self.run(tokens, positions, lambda q, k, v: (attend(q, k, v), None))[0]

    def run(
        self, tokens: Int[Array, "B S"], positions: Int[Array, "B S"], attend: Attend
    ) -> tuple[Float[Array, "B S D"], PyTree]:
        """Runs all layers with the caller's attention; returns hidden states and what attention kept in each layer.

        What it kept is a list or, with stacked layers, which are one compiled layer that runs L times, one tree whose
        arrays have a leading axis of layers. See ``run_each`` for attention that differs by layer.

        Args:
            attend: (q [B, S, N, H], k [B, S, K, H], v [B, S, K, H]) -> (mixed [B, S, N, H], kept).
        """
        if self.stack is None:
            return self.run_each(tokens, positions, [attend] * self.config.num_layers)
        x, angles = self._start(tokens, positions)
        graph, stacked = nnx.split(self.stack)

        def step(x: Float[Array, "B S D"], arrays: nnx.State) -> tuple[Float[Array, "B S D"], object]:
            return self._remat(lambda x, arrays: nnx.merge(graph, arrays)(x, angles, attend), x, arrays)

        x, kept = jax.lax.scan(step, x, stacked)
        return self.final_norm(x), kept

    def run_each(
        self, tokens: Int[Array, "B S"], positions: Int[Array, "B S"], attends: Sequence[Attend]
    ) -> tuple[Float[Array, "B S D"], list]:
        """As ``run``, layer by layer, each with its own attention, such as over a layer's own cache.

        Args:
            attends: the attention of each layer.
        """
        x, angles = self._start(tokens, positions)
        layers = self.layers if self.stack is None else layers_of(self.stack, self.config.num_layers)
        kept = []
        for layer, attend in zip(layers, attends, strict=True):

            def run_layer(
                x: Float[Array, "B S D"], layer: Layer = layer, attend: Attend = attend
            ) -> tuple[Float[Array, "B S D"], object]:
                return layer(x, angles, attend)

            x, keep = self._remat(run_layer, x)
            kept.append(keep)
        return self.final_norm(x), kept

    def _start(self, tokens: Int[Array, "B S"], positions: Int[Array, "B S"]) -> tuple[Array, Array]:
        """The embedded tokens and the rotation of their positions."""
        config = self.config
        frequencies = rotary_frequencies(config.head_dim, config.rope_theta, config.rope_scaling)
        return self.embedding[...][tokens].astype(config.compute_dtype), rotary_angles(positions, frequencies)

    def _remat(
        self, run_layer: Callable[..., tuple[Array, object]], x: Float[Array, "B S D"], *arrays: nnx.State
    ) -> tuple[Float[Array, "B S D"], object]:
        """Runs a layer, which the backward pass recomputes as ``ModelConfig.remat`` says."""
        if self.config.remat != "none" or self.stack is not None:
            # XLA cannot share results between the two loops of a scan, so nothing has to prevent it.
            run_layer = jax.checkpoint(run_layer, policy=SAVED[self.config.remat], prevent_cse=self.stack is None)
        return run_layer(constrain(x, "rows", "whole", "whole"), *arrays)

    def head(self) -> Float[Array, "D V"]:
        """The vocabulary head: the tied embedding or its own matrix [V, D], transposed, in the compute dtype.

        Under ``jax.set_mesh`` it is unsharded over D and sharded over the vocabulary, as ``ops.vocab_head`` expects.
        """
        rows = self.embedding if self.unembedding is None else self.unembedding
        return gathered(rows[...].astype(self.config.compute_dtype), "vocab", "whole").T


@functools.lru_cache(maxsize=8)  # tracing takes a tenth of a second, and a run asks several times
def abstract_decoder(config: ModelConfig) -> tuple[nnx.GraphDef, nnx.State]:
    """Graph definition of a decoder, and shapes of its parameters, which nobody may change.

    Example:
        >>> sizes = {"width": 16, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "feed_forward": 32}
        >>> graph, shapes = abstract_decoder(ModelConfig(vocab_size=32, num_layers=1, **sizes))
        >>> jax.tree.leaves(shapes)[0].shape
        (32, 16)
    """
    return nnx.split(nnx.eval_shape(lambda: Decoder(config, rngs=nnx.Rngs(0))), nnx.Param)

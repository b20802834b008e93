# SPDX-License-Identifier: Apache-2.0
"""Sampling in this process: one compiled prefill and decode loop on the training devices.

A prompt is prefilled and stored once for its G samples. Shapes are fixed by the engine (slots, prompt length) and the
sampling settings (samples, tokens), so that neighbours and order change no bit of a sample.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from ntl_jax.models import Decoder, batch_sharding
from ntl_jax.models.attention import causal_attention, causal_mask, shared_prefix_attention
from ntl_jax.numerals import NumberTable
from ntl_jax.ops import head_logits
from ntl_jax.records import Prompt, Sampling, Trajectory
from ntl_jax.rollout.draw import draw, uniforms
from ntl_jax.rollout.engine import RolloutEngine


class JaxEngine(RolloutEngine):
    """Samples with the trainer's own decoder and vocabulary head, on its mesh.

    Args:
        decoder: the policy; ``load_weights`` swaps its weights.
        table: the digits' ids, of kind "digits".
        mesh: where parameters lie and rows are spread.
        slots: rows that are decoded together; ``slots // num_samples`` prompts run at a time (at least one).
        max_prompt_tokens: longest prompt, P.

    Example:
        >>> from ntl_jax.models import ModelConfig, make_mesh
        >>> sizes = {"width": 16, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "feed_forward": 32}
        >>> config = ModelConfig(vocab_size=16, num_layers=1, **sizes)
        >>> table = NumberTable.from_vocab({str(d): d for d in range(10)}, vocab_size=16)
        >>> engine = JaxEngine(Decoder(config, rngs=nnx.Rngs(0)), table, mesh=make_mesh((-1, 1, 1), jax.devices()[:1]),
        ...                    slots=4, max_prompt_tokens=8)
        >>> prompt = Prompt(index=0, ids=np.array([1, 10, 2]), text="1+2", ground_truth="3")
        >>> [len(t.response_ids) for t in engine.generate([prompt], Sampling(num_samples=2, max_tokens=5), seed=0)]
        [5, 5]
    """

    def __init__(
        self, decoder: Decoder, table: NumberTable, *, mesh: jax.sharding.Mesh, slots: int, max_prompt_tokens: int
    ):
        self._config = decoder.config
        self._table = table
        self._sharding = batch_sharding(mesh)
        self._mesh = mesh
        self._slots = slots
        self._max_prompt_tokens = max_prompt_tokens
        self.load_weights(0, decoder)

    def load_weights(self, version: int, decoder: Decoder) -> None:
        self._graph, self._params = nnx.split(decoder)
        self._version = version

    def close(self) -> None:
        del self._params

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, *, seed: int) -> list[Trajectory]:
        _check_prompts(prompts, self._max_prompt_tokens, self._config.vocab_size)
        per_call = max(1, self._slots // sampling.num_samples)
        calls = [prompts[start : start + per_call] for start in range(0, len(prompts), per_call)]
        # All calls are enqueued before the first result is read.
        samples = [self._decode(call, per_call, sampling, seed) for call in calls]
        return [
            trajectory
            for call, result in zip(calls, samples, strict=True)
            for trajectory in _trajectories(call, jax.device_get(result), self._version)
        ]

    def _decode(self, prompts: Sequence[Prompt], num_rows: int, sampling: Sampling, seed: int) -> "Samples":
        ids = np.zeros((num_rows, self._max_prompt_tokens), np.int32)
        lengths = np.ones(num_rows, np.int32)  # empty slots decode a one-token prompt, and are dropped
        indices = np.zeros(num_rows, np.uint32)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt.ids)], lengths[row], indices[row] = prompt.ids, len(prompt.ids), prompt.index
        rows = (ids, lengths, indices)
        if num_rows % (self._mesh.shape["data"] * self._mesh.shape["fsdp"]) == 0:
            rows = jax.device_put(rows, self._sharding)
        return _generate(
            self._graph,
            sampling.num_samples,
            sampling.max_tokens,
            sampling.capture_digits,
            self._params,
            self._table,
            *rows,
            np.uint32(seed),
            np.float32(sampling.temperature),
            np.array(sampling.stop_token_ids, np.int32),
        )


class Samples(NamedTuple):
    """What one compiled call returns; entries at and past ``lengths`` mean nothing."""

    tokens: Int[Any, "B G T"]
    log_probs: Float[Any, "B G T"]
    digit_log_probs: Float[Any, "B G T 10"] | None
    lengths: Int[Any, "B G"]
    stopped: Bool[Any, "B G"]


class _Loop(NamedTuple):
    """State of the decode loop: hidden states of the next token's distribution, own caches by layer, the samples."""

    step: Int[Array, ""]
    hidden: Float[Array, "B G D"]
    keys: tuple[Float[Array, "B G K T H"], ...]
    values: tuple[Float[Array, "B G K T H"], ...]
    samples: Samples


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _generate(
    graph,
    num_samples,
    max_tokens,
    capture_digits,
    params,
    table,
    prompt_ids,
    prompt_lengths,
    prompt_indices,
    seed,
    temperature,
    stop_ids,
) -> Samples:
    decoder: Decoder = nnx.merge(graph, params)
    head = decoder.head()
    prompt_mask = jnp.arange(prompt_ids.shape[1])[None, :] < prompt_lengths[:, None]
    last_hidden, prompt_caches = _prefill(decoder, prompt_ids, prompt_mask, prompt_lengths)
    random = uniforms(seed, prompt_indices, num_samples, max_tokens)

    def keep_going(loop: _Loop) -> Bool[Array, ""]:
        return (loop.step < max_tokens) & ~jnp.all(loop.samples.stopped)

    def decode_one(loop: _Loop) -> _Loop:
        log_probs = _log_probs(loop.hidden, head, temperature)
        tokens = _choose(log_probs, random[:, :, loop.step], temperature)
        samples = _record(loop.samples, loop.step, tokens, log_probs, table, stop_ids)
        hidden, keys, values = _advance(decoder, tokens, loop, prompt_caches, prompt_mask, prompt_lengths)
        return _Loop(loop.step + 1, hidden, keys, values, samples)

    start = _empty_loop(decoder, last_hidden, num_samples, max_tokens, capture_digits)
    return jax.lax.while_loop(keep_going, decode_one, start).samples


def _prefill(decoder: Decoder, ids, mask, lengths):
    """Hidden state of each prompt's last token [B, D], and per layer its keys and values [B, K, P, H]."""
    attends = causal_mask(mask.astype(jnp.int32))
    positions = jnp.broadcast_to(jnp.arange(ids.shape[1])[None, :], ids.shape)

    def attend(layer, q, k, v):
        return causal_attention(q, k, v, attends), (k.swapaxes(1, 2), v.swapaxes(1, 2))

    hidden, caches = decoder.run(ids, positions, attend)
    return jnp.take_along_axis(hidden, (lengths - 1)[:, None, None], axis=1)[:, 0], caches


def _empty_loop(decoder: Decoder, last_hidden, num_samples: int, max_tokens: int, capture_digits: bool) -> _Loop:
    shape = (last_hidden.shape[0], num_samples)
    cache_shape = (*shape, decoder.config.num_kv_heads, max_tokens, decoder.config.head_dim)
    caches = tuple(jnp.zeros(cache_shape, last_hidden.dtype) for _ in range(decoder.config.num_layers))
    samples = Samples(
        tokens=jnp.zeros((*shape, max_tokens), jnp.int32),
        log_probs=jnp.zeros((*shape, max_tokens), jnp.float32),
        digit_log_probs=jnp.zeros((*shape, max_tokens, 10), jnp.float32) if capture_digits else None,
        lengths=jnp.zeros(shape, jnp.int32),
        stopped=jnp.zeros(shape, bool),
    )
    hidden = jnp.broadcast_to(last_hidden[:, None, :], (*shape, last_hidden.shape[-1]))
    return _Loop(jnp.int32(0), hidden, caches, caches, samples)


def _log_probs(hidden: Float[Array, "B G D"], head: Float[Array, "D V"], temperature) -> Float[Array, "B G V"]:
    """The distribution that is sampled from and reported; greedy decoding reports temperature 1."""
    return jax.nn.log_softmax(head_logits(hidden, head, jnp.where(temperature > 0, temperature, 1.0)), axis=-1)


def _choose(log_probs: Float[Array, "B G V"], random: Float[Array, "B G"], temperature) -> Int[Array, "B G"]:
    vocab_size = log_probs.shape[-1]
    drawn = draw(log_probs.reshape(-1, vocab_size), random.reshape(-1)).reshape(random.shape)
    return jnp.where(temperature > 0, drawn, jnp.argmax(log_probs, axis=-1).astype(jnp.int32))


def _record(samples: Samples, step, tokens, log_probs, table: NumberTable, stop_ids) -> Samples:
    """Writes one position of every row; a finished row's entries are past its length and mean nothing."""
    chosen = jnp.take_along_axis(log_probs, tokens[:, :, None], axis=-1)[:, :, 0]
    digits = samples.digit_log_probs
    if digits is not None:
        digits = digits.at[:, :, step].set(table.merge_by_value(log_probs[:, :, table.ids]))
    return Samples(
        tokens=samples.tokens.at[:, :, step].set(tokens),
        log_probs=samples.log_probs.at[:, :, step].set(chosen),
        digit_log_probs=digits,
        lengths=jnp.where(samples.stopped, samples.lengths, step + 1),
        stopped=samples.stopped | jnp.any(tokens[:, :, None] == stop_ids[None, None, :], axis=-1),
    )


def _advance(decoder: Decoder, tokens, loop: _Loop, prompt_caches, prompt_mask, prompt_lengths):
    """Runs the decoder on one new token per sample; returns its hidden states and the caches with that token."""
    num_rows, num_samples = tokens.shape

    def attend(layer, q, k, v):
        def by_row(x):
            return x.reshape(num_rows, num_samples, *x.shape[2:])

        keys = jax.lax.dynamic_update_slice_in_dim(loop.keys[layer], by_row(k)[:, :, :, None, :], loop.step, axis=3)
        values = jax.lax.dynamic_update_slice_in_dim(loop.values[layer], by_row(v)[:, :, :, None, :], loop.step, axis=3)
        mixed = shared_prefix_attention(by_row(q), prompt_caches[layer], (keys, values), prompt_mask, loop.step)
        return mixed.reshape(q.shape), (keys, values)

    positions = jnp.repeat(prompt_lengths + loop.step, num_samples)[:, None]
    hidden, caches = decoder.run(tokens.reshape(-1, 1), positions, attend)
    keys, values = zip(*caches, strict=True)
    return hidden.reshape(num_rows, num_samples, -1), keys, values


def _check_prompts(prompts: Sequence[Prompt], max_prompt_tokens: int, vocab_size: int) -> None:
    problems = []
    for prompt in prompts:
        if len(prompt.ids) == 0:
            problems.append(f"prompt {prompt.index} is empty")
        elif len(prompt.ids) > max_prompt_tokens:
            problems.append(f"prompt {prompt.index} has {len(prompt.ids)} tokens, the engine takes {max_prompt_tokens}")
        elif prompt.ids.min() < 0 or prompt.ids.max() >= vocab_size:
            low, high = prompt.ids.min(), prompt.ids.max()
            problems.append(f"prompt {prompt.index} holds ids outside [0, {vocab_size}): from {low} to {high}")
    if problems:
        raise ValueError(
            f"{len(problems)} of {len(prompts)} prompts cannot be sampled:\n  " + "\n  ".join(problems[:10])
        )


def _trajectories(prompts: Sequence[Prompt], samples: Samples, version: int) -> list[Trajectory]:
    return [
        Trajectory(
            prompt_index=prompt.index,
            sample_index=g,
            prompt_ids=prompt.ids,
            response_ids=samples.tokens[b, g, :length],
            rollout_log_probs=samples.log_probs[b, g, :length],
            digit_log_probs=None if samples.digit_log_probs is None else samples.digit_log_probs[b, g, :length],
            finish_reason="stop" if samples.stopped[b, g] else "length",
            policy_version=version,
        )
        for b, prompt in enumerate(prompts)
        for g, length in enumerate(samples.lengths[b])
    ]

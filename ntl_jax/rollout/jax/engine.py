# SPDX-License-Identifier: Apache-2.0
"""Sampling in this process, on the training devices: continuous batching in a few compiled programs of fixed shapes.

Prompts are prefilled and stored once for all their samples. A fixed number of slots decodes in segments of a page of
tokens; between segments finished samples leave and waiting ones enter. A sample's tokens always lie at the same
places, counted from its start, so that neighbours and order change no bit of it.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ntl_jax.models import Decoder, batch_sharding, num_row_shards
from ntl_jax.numerals import NumberTable, TokenDecoder
from ntl_jax.records import Prompt, Sampling, Trajectory
from ntl_jax.rollout.engine import RolloutEngine, check_positions, check_prompts
from ntl_jax.rollout.jax.cache import (
    Cache,
    CacheShape,
    block_sizes,
    cache_sharding,
    check_memory,
    empty_cache,
    free_bytes,
    num_blocks_for,
)
from ntl_jax.rollout.jax.programs import PAGE, Geometry, SamplingArrays, Slots, decode, prefill
from ntl_jax.rollout.jax.responses import Responses
from ntl_jax.rollout.jax.sampler import Method
from ntl_jax.rollout.jax.scheduler import Entry, Scheduler, num_places_for
from ntl_jax.rollout.jax.truncation import Truncation
from ntl_jax.rollout.stopping import length_to_stop, with_stop_ids

# Larger first blocks make fewer programs, smaller ones read less of what is not there yet.
FIRST_PROMPT_BLOCK = 64  # prompts are prefilled in lengths of 64, 128, 256, ...
FIRST_OWN_BLOCK = 3 * PAGE
PREFILL_TOKENS_PER_SLOT = 2  # of one prefill: small, since a few prompts at a time come in between segments


class JaxEngine(RolloutEngine):
    """Samples with the trainer's own decoder and vocabulary head, on its mesh.

    Args:
        decoder: the policy; ``load_weights`` swaps its weights.
        table: the digits' ids, of kind "digits".
        mesh: where parameters lie and rows are spread.
        slots: rows that are decoded together, rounded up so that groups of ``num_samples`` divide over data and fsdp.
            With responses of different lengths, a quarter of a call's samples or less keeps the slots filled.
        max_prompt_tokens: longest prompt, P.
        tokenizer: for stop strings; without it they are refused.

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
        self,
        decoder: Decoder,
        table: NumberTable,
        *,
        mesh: jax.sharding.Mesh,
        slots: int,
        max_prompt_tokens: int,
        tokenizer: Any = None,
    ):
        if slots < 1 or max_prompt_tokens < 1:
            raise ValueError(f"slots={slots} and max_prompt_tokens={max_prompt_tokens} must be at least 1")
        self._config, self._table, self._mesh = decoder.config, table, mesh
        self._num_shards = num_row_shards(mesh)
        self._slots = slots
        self._max_prompt_tokens = max_prompt_tokens
        self._tokenizer, self._decode_text = tokenizer, None if tokenizer is None else TokenDecoder(tokenizer)
        self._rows = batch_sharding(mesh)
        self.slot_use = 0.0
        """Of the last call's slot-steps the share that gave a token which was kept."""
        self.load_weights(0, decoder)

    def load_weights(self, version: int, decoder: Decoder) -> None:
        self._graph, self._params = nnx.split(decoder)
        self._version = version

    def close(self) -> None:
        del self._params

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, *, seed: int) -> list[Trajectory]:
        check_prompts(prompts, self._max_prompt_tokens, self._config.num_ids)
        longest = max((len(prompt.ids) for prompt in prompts), default=0)
        check_positions(longest, sampling.max_tokens, self._config.max_positions)
        if any(x.is_deleted() for x in jax.tree.leaves(self._params)):
            raise ValueError(
                f"the memory of the weights of version {self._version} was given to an update since: call load_weights "
                "with the policy as it is now"
            )
        sampling = with_stop_ids(sampling, self._tokenizer)
        geometry = self._geometry(len(prompts), sampling)
        prompt_cache, own = self._allocate(geometry)
        num_prompt_blocks = max((_num_blocks(prompt, geometry) for prompt in prompts), default=0)
        scheduler = Scheduler(
            num_prompts=len(prompts),
            num_samples=sampling.num_samples,
            num_groups=geometry.num_groups,
            num_places=geometry.num_places,
        )
        responses = Responses(len(prompts) * sampling.num_samples, sampling.max_tokens, self._length_to_stop(sampling))
        arrays = _arrays(sampling, seed)
        with jax.set_mesh(self._mesh):
            while scheduler.busy:
                for batch in self._prefills(prompts, scheduler.admit(), geometry):
                    prompt_cache = prefill(geometry, self._params, prompt_cache, *batch)
                slots = _slots(prompts, sampling, scheduler, responses)
                num_own_blocks = num_blocks_for(int(slots.counts.max()), geometry.own_blocks)
                num_blocks = (num_prompt_blocks, num_own_blocks)
                slots = jax.device_put(slots, self._rows)
                own, segment = decode(
                    geometry, *num_blocks, self._params, self._table, prompt_cache, own, slots, arrays
                )
                scheduler.release(responses.add(scheduler.sample_of_slot, jax.device_get(segment)))
        self.slot_use = responses.lengths.sum() / max(1, responses.num_steps * geometry.num_slots)
        return responses.trajectories(prompts, self._version)

    def _length_to_stop(self, sampling: Sampling):
        if not sampling.stop_strings:
            return None
        assert self._decode_text is not None
        return functools.partial(length_to_stop, stop_strings=sampling.stop_strings, decode=self._decode_text)

    def _geometry(self, num_prompts: int, sampling: Sampling) -> Geometry:
        num_prefilled = -(-(self._max_prompt_tokens - 1) // PAGE) * PAGE
        num_own = -(-sampling.max_tokens // PAGE) * PAGE - PAGE  # the last page is never read again
        num_groups = -(-self._slots // (sampling.num_samples * self._num_shards)) * self._num_shards
        return Geometry(
            graph=self._graph,
            num_groups=num_groups,
            num_samples=sampling.num_samples,
            num_places=num_places_for(num_prompts, sampling.num_samples, num_groups),
            prompt_blocks=block_sizes(num_prefilled, first=FIRST_PROMPT_BLOCK),
            own_blocks=block_sizes(num_own, first=FIRST_OWN_BLOCK),
            dtype=jnp.dtype(self._config.compute_dtype),
            sharding=cache_sharding(self._mesh, self._config.num_kv_heads),
            method=_method(sampling),
        )

    def _allocate(self, geometry: Geometry) -> tuple[Cache, Cache]:
        config = self._config
        sizes = (config.num_layers, config.num_kv_heads, config.head_dim, geometry.dtype)
        prompt_blocks = tuple(geometry.num_places * size for size in geometry.prompt_blocks)
        prompts = CacheShape(geometry.num_groups, prompt_blocks, *sizes)
        own = CacheShape(geometry.num_slots, geometry.own_blocks, *sizes)
        check_memory(prompts, own, available=free_bytes(self._mesh))
        return empty_cache(prompts, geometry.sharding), empty_cache(own, geometry.sharding)

    def _prefills(self, prompts: Sequence[Prompt], entries: list[Entry], geometry: Geometry):
        """Batches of ids, groups and places: prompts of as many blocks together, in as many rows however few."""
        for num_blocks in range(1, len(geometry.prompt_blocks) + 1):
            alike = [entry for entry in entries if _num_blocks(prompts[entry.prompt], geometry) == num_blocks]
            length = sum(geometry.prompt_blocks[:num_blocks])
            per_shard = PREFILL_TOKENS_PER_SLOT * geometry.num_slots // (length * self._num_shards)
            size = max(1, per_shard) * self._num_shards
            for start in range(0, len(alike), size):
                ids, places = np.zeros((size, length), np.int32), np.zeros(size, np.int32)
                groups = np.full(size, geometry.num_groups, np.int32)  # past the last: dropped
                for row, (prompt, place, group) in enumerate(alike[start : start + size]):
                    prefix = prompts[prompt].ids[:-1]
                    ids[row, : len(prefix)], groups[row], places[row] = prefix, group, place
                yield jax.device_put((ids, groups, places), self._rows)


def _num_blocks(prompt: Prompt, geometry: Geometry) -> int:
    """Of the cache that the prompt fills; its last token is decoded."""
    return num_blocks_for(len(prompt.ids) - 1, geometry.prompt_blocks)


def _method(sampling: Sampling) -> Method:
    greedy = sampling.temperature == 0
    return Method(
        greedy=greedy,
        truncated=not greedy and sampling.is_truncated,
        capture_digits=sampling.capture_digits,
        capture_entropy=sampling.capture_entropy,
        capture_alternatives=sampling.capture_alternatives,
    )


def _arrays(sampling: Sampling, seed: int) -> SamplingArrays:
    return SamplingArrays(
        seed=np.uint32(seed),
        temperature=np.float32(sampling.temperature),
        truncation=Truncation(np.float32(sampling.top_p), np.int32(sampling.top_k), np.float32(sampling.min_p)),
        stop_ids=np.array(sampling.stop_token_ids, np.int32),
    )


def _slots(prompts: Sequence[Prompt], sampling: Sampling, scheduler: Scheduler, responses: Responses) -> Slots:
    """The next segment's slots; an empty one decodes token 0 and is never read."""
    taken = np.flatnonzero(scheduler.sample_of_slot >= 0)
    samples = scheduler.sample_of_slot[taken]
    counts = responses.lengths[samples]
    of_slot = [prompts[i] for i in samples // sampling.num_samples]
    last = np.array([p.ids[-1] for p in of_slot])
    going_on = counts > 0
    if going_on.any():
        last[going_on] = responses.last_tokens(samples[going_on])

    def by_slot(values, dtype: type[np.integer] = np.int32):
        filled = np.zeros(len(scheduler.sample_of_slot), dtype)
        filled[taken] = values
        return filled

    prefilled = np.array([len(p.ids) - 1 for p in of_slot])
    bounds = np.zeros((len(scheduler.sample_of_slot), len(scheduler.prompt_of_place)), np.int32)
    bounds[taken, scheduler.place_of_slot[taken]] = prefilled
    return Slots(
        tokens=by_slot(last),
        counts=by_slot(counts),
        remaining=by_slot(sampling.max_tokens - counts),
        positions=by_slot(prefilled + counts),
        prompt_draws=by_slot([p.draw for p in of_slot], np.uint32),
        sample_indices=by_slot(samples % sampling.num_samples),
        prompt_bounds=bounds,
    )

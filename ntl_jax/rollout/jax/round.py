# SPDX-License-Identifier: Apache-2.0
"""A round: requests of one Sampling decoded together from one version of the weights, segment by segment.

Requests may be added while others decode. Between segments finished samples leave the slots and waiting ones enter.
"""

import dataclasses
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Int

from ntl_jax.models import ModelConfig, batch_sharding, num_row_shards
from ntl_jax.models.stacking import layer_arrays
from ntl_jax.numerals import NumberTable, TokenDecoder
from ntl_jax.records import Request, Sampling, Trajectory, Weights
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
from ntl_jax.rollout.stopping import length_to_stop

# Larger first blocks need fewer programs; smaller ones read fewer empty positions.
FIRST_PROMPT_BLOCK = 64  # prompts are prefilled in lengths of 64, 128, 256, ...
FIRST_OWN_BLOCK = 3 * PAGE
PREFILL_TOKENS_PER_SLOT = 2  # per prefill: small, since only a few prompts enter between segments


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
    """What all rounds of an engine share.

    Args:
        model, graph: the policy's shapes and graph definition.
        by_layer: graph definition of the policy with separate layers; the same as ``graph`` unless layers are stacked.
        table: the digits' ids.
        mesh: mesh of the parameters and rows.
        slots: rows that decode together, before rounding.
        max_prompt_tokens: longest prompt, P.
        decode_text: decodes text for stop strings; None without a tokenizer.
    """

    model: ModelConfig
    graph: nnx.GraphDef
    by_layer: nnx.GraphDef
    table: NumberTable
    mesh: Mesh
    slots: int
    max_prompt_tokens: int
    decode_text: TokenDecoder | None


class Round:
    """Decodes the requests that are added to it.

    Args:
        setup: the engine's setup.
        weights: weights to sample from; the round reads their arrays until its last segment.
        sampling: sampling parameters of all requests.
        num_requests: requests known at the start; more may be added. If each has its own group of slots, groups have
            room for one prompt at a time, else for several. On CPU, the last bits of log-probs can differ between the
            two if a matrix product has few rows (fewer than 16 slots, or prompts of at most 16 tokens).
    """

    def __init__(self, setup: Setup, weights: Weights, sampling: Sampling, *, num_requests: int):
        self.kind = sampling, weights
        self._setup, self._weights, self._sampling = setup, weights, sampling
        self._geometry = geometry = _geometry(setup, sampling, num_requests)
        self._decoding = dataclasses.replace(geometry, graph=setup.by_layer)
        self._params = layer_arrays(weights.params, setup.model.num_layers)
        self._prompt_cache, self._own = _allocate(setup, geometry)
        self._scheduler = Scheduler(
            num_samples=geometry.num_samples, num_groups=geometry.num_groups, num_places=geometry.num_places
        )
        find_stop = None
        if sampling.stop_strings:
            assert setup.decode_text is not None
            find_stop = functools.partial(length_to_stop, stop_strings=sampling.stop_strings, decode=setup.decode_text)
        num_rows = geometry.num_places * geometry.num_slots
        self._responses = Responses(num_rows, sampling.max_tokens, find_stop)
        self._arrays = _arrays(sampling)
        self._requests: dict[int, Request] = {}
        """Unfinished requests, by the scheduler's number."""
        self._num_prompt_blocks = 0

    @property
    def unfinished(self) -> int:
        """Number of unfinished requests."""
        return len(self._requests)

    @property
    def slot_use(self) -> float:
        """Share of the slot-steps so far that produced a kept token of a finished request."""
        return self._responses.num_tokens / max(1, self._responses.num_steps * self._geometry.num_slots)

    def add(self, request: Request) -> None:
        """Adds a request with this round's Sampling."""
        self._requests[self._scheduler.add()] = request
        self._num_prompt_blocks = max(self._num_prompt_blocks, _num_blocks(request, self._geometry))

    def decode_segment(self) -> list[list[Trajectory]]:
        """Fills free slots and decodes a page of tokens; returns the groups of requests that this finishes."""
        setup, geometry, scheduler = self._setup, self._geometry, self._scheduler
        params, rows = self._weights.params, batch_sharding(setup.mesh)
        with jax.set_mesh(setup.mesh):
            for batch in self._prefills(scheduler.admit()):
                self._prompt_cache = prefill(geometry, params, self._prompt_cache, *jax.device_put(batch, rows))
            row_of_slot = self._row_of_slot()
            slots = self._slots(row_of_slot)
            num_blocks = (self._num_prompt_blocks, num_blocks_for(int(slots.counts.max()), geometry.own_blocks))
            slots = jax.device_put(slots, rows)
            self._own, segment = decode(
                self._decoding,
                *num_blocks,
                self._params,
                setup.table,
                self._prompt_cache,
                self._own,
                slots,
                self._arrays,
            )
            done = scheduler.release(self._responses.add(row_of_slot, jax.device_get(segment)))
        return [self._take_out(entry) for entry in done]

    def _take_out(self, entry: Entry) -> list[Trajectory]:
        first = self._first_row(entry.place, entry.group)
        request = self._requests.pop(entry.prompt)
        return self._responses.take_out(
            request, range(first, first + self._geometry.num_samples), self._weights.version
        )

    def _first_row(self, place: int, group: int) -> int:
        """First row of the prompt's samples in `Responses`: each place of each group has G rows."""
        return place * self._geometry.num_slots + group * self._geometry.num_samples

    def _row_of_slot(self) -> np.ndarray:
        scheduler, geometry = self._scheduler, self._geometry
        first_slot = np.arange(geometry.num_slots) // geometry.num_samples * geometry.num_samples
        rows = scheduler.place_of_slot * geometry.num_slots + first_slot
        return np.where(scheduler.sample_of_slot < 0, -1, rows + scheduler.sample_of_slot % geometry.num_samples)

    def _prefills(self, entries: list[Entry]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Batches of ids, groups and places: prompts with equally many blocks, padded to a fixed number of rows."""
        geometry, num_shards = self._geometry, num_row_shards(self._setup.mesh)
        for num_blocks in range(1, len(geometry.prompt_blocks) + 1):
            alike = [entry for entry in entries if _num_blocks(self._requests[entry.prompt], geometry) == num_blocks]
            length = sum(geometry.prompt_blocks[:num_blocks])
            per_shard = PREFILL_TOKENS_PER_SLOT * geometry.num_slots // (length * num_shards)
            size = max(1, per_shard) * num_shards
            for start in range(0, len(alike), size):
                ids, places = np.zeros((size, length), np.int32), np.zeros(size, np.int32)
                groups = np.full(size, geometry.num_groups, np.int32)  # past the last group: dropped
                for row, (prompt, place, group) in enumerate(alike[start : start + size]):
                    prefix = self._requests[prompt].prompt.ids[:-1]
                    ids[row, : len(prefix)], groups[row], places[row] = prefix, group, place
                yield ids, groups, places

    def _slots(self, row_of_slot: np.ndarray) -> Slots:
        """The next segment's slots; an empty slot decodes token 0 and is never read."""
        scheduler, sampling = self._scheduler, self._sampling
        taken = np.flatnonzero(row_of_slot >= 0)
        samples, rows = scheduler.sample_of_slot[taken], row_of_slot[taken]
        counts = self._responses.lengths[rows]
        of_slot = [self._requests[i] for i in (samples // sampling.num_samples).tolist()]
        last = np.array([request.prompt.ids[-1] for request in of_slot])
        going_on = counts > 0
        if going_on.any():
            last[going_on] = self._responses.last_tokens(rows[going_on])

        def by_slot(
            values: Int[np.ndarray, "taken"] | list[int], dtype: type[np.integer] = np.int32
        ) -> Int[np.ndarray, "X"]:
            filled = np.zeros(len(row_of_slot), dtype)
            filled[taken] = values
            return filled

        prefilled = np.array([len(request.prompt.ids) - 1 for request in of_slot])
        bounds = np.zeros((len(row_of_slot), self._geometry.num_places), np.int32)
        bounds[taken, scheduler.place_of_slot[taken]] = prefilled
        return Slots(
            tokens=by_slot(last),
            counts=by_slot(counts),
            remaining=by_slot(sampling.max_tokens - counts),
            positions=by_slot(prefilled + counts),
            seeds=by_slot([request.seed for request in of_slot], np.uint32),
            prompt_draws=by_slot([request.prompt.draw for request in of_slot], np.uint32),
            sample_indices=by_slot(samples % sampling.num_samples),
            prompt_bounds=bounds,
        )


def _num_blocks(request: Request, geometry: Geometry) -> int:
    """Number of cache blocks that the prompt fills, without its last token, which is decoded."""
    return num_blocks_for(len(request.prompt.ids) - 1, geometry.prompt_blocks)


def _geometry(setup: Setup, sampling: Sampling, num_requests: int) -> Geometry:
    num_shards = num_row_shards(setup.mesh)
    num_prefilled = -(-(setup.max_prompt_tokens - 1) // PAGE) * PAGE
    num_own = -(-sampling.max_tokens // PAGE) * PAGE - PAGE  # the last page is never read again
    num_groups = -(-setup.slots // (sampling.num_samples * num_shards)) * num_shards
    return Geometry(
        graph=setup.graph,
        num_groups=num_groups,
        num_samples=sampling.num_samples,
        # Depends only on the requests known at the start, so the prompts of a call use the same programs whether or not
        # more requests come. Places cost memory and attention. Late requests wait until a whole group is free.
        num_places=num_places_for(num_requests, sampling.num_samples, num_groups),
        prompt_blocks=block_sizes(num_prefilled, first=FIRST_PROMPT_BLOCK),
        own_blocks=block_sizes(num_own, first=FIRST_OWN_BLOCK),
        dtype=jnp.dtype(setup.model.compute_dtype),
        sharding=cache_sharding(setup.mesh, setup.model.num_kv_heads),
        method=_method(sampling),
    )


def _allocate(setup: Setup, geometry: Geometry) -> tuple[Cache, Cache]:
    model = setup.model
    sizes = (model.num_layers, model.num_kv_heads, model.head_dim, geometry.dtype)
    prompt_blocks = tuple(geometry.num_places * size for size in geometry.prompt_blocks)
    prompts = CacheShape(geometry.num_groups, prompt_blocks, *sizes)
    own = CacheShape(geometry.num_slots, geometry.own_blocks, *sizes)
    check_memory(prompts, own, available=free_bytes(setup.mesh))
    return empty_cache(prompts, geometry.sharding), empty_cache(own, geometry.sharding)


def _method(sampling: Sampling) -> Method:
    greedy = sampling.temperature == 0
    return Method(
        greedy=greedy,
        truncated=not greedy and sampling.is_truncated,
        capture_digits=sampling.capture_digits,
        capture_entropy=sampling.capture_entropy,
        capture_alternatives=sampling.capture_alternatives,
    )


def _arrays(sampling: Sampling) -> SamplingArrays:
    return SamplingArrays(
        temperature=np.float32(sampling.temperature),
        truncation=Truncation(np.float32(sampling.top_p), np.int32(sampling.top_k), np.float32(sampling.min_p)),
        stop_ids=np.array(sampling.stop_token_ids, np.int32),
    )

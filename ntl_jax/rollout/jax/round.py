# SPDX-License-Identifier: Apache-2.0
"""A round: requests of one Sampling decoded together from one version of the weights, segment by segment.

Requests may be added while others decode. Between segments finished samples leave the slots and waiting ones enter.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Int

from ntl_jax.models import ModelConfig, batch_sharding, num_row_shards
from ntl_jax.models.sharding import free_bytes
from ntl_jax.models.stacking import layer_arrays
from ntl_jax.numerals import NumberTable, TokenDecoder
from ntl_jax.records import Request, Sampling, Trajectory, Weights
from ntl_jax.rollout.jax.cache import (
    CacheSettings,
    CacheShape,
    TileRows,
    TileShape,
    block_sizes,
    cache_sharding,
    check_memory,
    empty_cache,
    num_blocks_for,
    padded,
)
from ntl_jax.rollout.jax.decode import PAGE, Geometry, SamplingArrays, Segment, Slots, decode, decode_tile
from ntl_jax.rollout.jax.prefill import prefill
from ntl_jax.rollout.jax.responses import Responses
from ntl_jax.rollout.jax.sampler.sample import method_of
from ntl_jax.rollout.jax.sampler.truncation import Truncation
from ntl_jax.rollout.jax.scheduler import Entry, Scheduler, arrange, group_size_for, num_places_for, tile_shape
from ntl_jax.rollout.stopping import length_to_stop

# Larger first blocks need fewer programs; smaller ones read fewer empty positions.
FIRST_PROMPT_BLOCK = 64  # prompts are prefilled in lengths of 64, 128, 256, ...
FIRST_OWN_BLOCK = 64
TILE_SLOTS = 128  # on CPU: smaller tiles let more go, but a step of 64 rows takes a tenth more time per row
MOST_TILES = 16  # each costs time on the host
PREFILL_TOKENS_PER_SLOT = 2  # per prefill: small, since only a few prompts enter between segments


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
    """What all rounds of an engine share.

    Args:
        model, graph: the policy's shapes and graph definition.
        by_layer: graph definition of the policy with separate layers; the same as ``graph`` unless layers are stacked.
        table: the digits' ids.
        mesh: mesh of the parameters and rows.
        slots: samples in flight, before rounding.
        tile_slots: as in `JaxEngine`.
        max_prompt_tokens: longest prompt, P.
        decode_text: decodes text for stop strings; None without a tokenizer.
        num_prompts: as in `JaxEngine`.
    """

    model: ModelConfig
    graph: nnx.GraphDef
    by_layer: nnx.GraphDef
    table: NumberTable
    mesh: Mesh
    slots: int
    tile_slots: int | None
    max_prompt_tokens: int
    decode_text: TokenDecoder | None
    num_prompts: int | None


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
        self._geometry = geometry = geometry_of(setup, sampling, setup.num_prompts or num_requests)
        self._decoding = dataclasses.replace(geometry, graph=setup.by_layer)
        self._params = layer_arrays(weights.params, setup.model.num_layers)
        self._tile = _tile_shape(setup, sampling, geometry.num_slots)
        shapes = fitting_caches(setup, sampling, num_requests, CacheSettings())
        self._prompt_cache, self._own = (empty_cache(shape, geometry.sharding) for shape in shapes)
        self._scheduler = Scheduler(
            num_samples=geometry.num_samples, num_groups=geometry.num_groups, num_places=geometry.num_places
        )
        find_stop = None
        if sampling.stop_strings:
            assert setup.decode_text is not None
            find_stop = functools.partial(length_to_stop, stop_strings=sampling.stop_strings, decode=setup.decode_text)
        self._responses = Responses(geometry.num_places * geometry.num_slots, sampling.max_tokens, find_stop)
        self._arrays = _arrays(sampling)
        self._requests: dict[int, Request] = {}
        """Unfinished requests, by the scheduler's number."""

    @property
    def unfinished(self) -> int:
        """Number of unfinished requests."""
        return len(self._requests)

    @property
    def slot_use(self) -> float:
        """Share of the slot-steps so far that produced a kept token of a finished request."""
        num_slots = self._geometry.num_slots if self._tile is None else self._tile.num_slots
        return self._responses.num_tokens / max(1, self._responses.num_steps * num_slots)

    def add(self, request: Request) -> None:
        """Adds a request with this round's Sampling."""
        self._requests[self._scheduler.add()] = request

    def decode_segment(self) -> list[list[Trajectory]]:
        """Fills free slots and decodes a page of tokens; returns the groups of requests that this finishes."""
        setup, geometry, scheduler = self._setup, self._geometry, self._scheduler
        params, rows = self._weights.params, batch_sharding(setup.mesh)
        with jax.set_mesh(setup.mesh):
            for batch in self._prefills(scheduler.admit()):
                self._prompt_cache = prefill(geometry, params, self._prompt_cache, *jax.device_put(batch, rows))
            decoded = [(slots, self._decode(slots)) for slots in self._slots_by_program()]
            finished = np.zeros(geometry.num_slots, bool)
            for slots, segment in decoded:
                taken = slots >= 0
                done = self._responses.add(self._rows(slots), jax.device_get(segment))
                finished[slots[taken]] = done[taken]
        return [self._take_out(entry) for entry in scheduler.release(finished)]

    def _slots_by_program(self) -> Iterable[Int[np.ndarray, "X"]]:
        """The slots that each call of a program decodes in this segment; -1: none."""
        samples = self._scheduler.sample_of_slot
        if self._tile is None:
            return [np.where(samples < 0, -1, np.arange(len(samples)))]
        busy = np.flatnonzero(samples >= 0)
        lengths = self._responses.lengths[self._rows(busy)]
        tiles = arrange(samples[busy] // self._geometry.num_samples, lengths, self._tile)
        return np.where(tiles < 0, -1, busy[tiles])

    def _decode(self, chosen: Int[np.ndarray, "X"]) -> Segment:
        """Decodes a page of tokens for the chosen slots."""
        geometry, tile = self._decoding, self._tile
        slots = self._slots(chosen)
        num_prompt_blocks = num_blocks_for(int(slots.prompt_bounds.max()), geometry.prompt_blocks)
        num_own_blocks = num_blocks_for(int(slots.counts.max()), geometry.own_blocks)
        reads = self._params, self._setup.table, self._prompt_cache, self._own
        slots = jax.device_put(slots, batch_sharding(self._setup.mesh))
        if tile is None:
            self._own, segment = decode(geometry, num_prompt_blocks, num_own_blocks, *reads, slots, self._arrays)
        else:
            where = self._tile_rows(chosen, tile)
            self._own, segment = decode_tile(
                geometry, tile, num_prompt_blocks, num_own_blocks, *reads, where, slots, self._arrays
            )
        return segment

    def _tile_rows(self, chosen: Int[np.ndarray, "X"], tile: TileShape) -> TileRows:
        num_groups, num_samples = self._geometry.num_groups, self._geometry.num_samples
        of_group = chosen.reshape(tile.num_groups, tile.group_size).max(axis=1)  # all of one prompt, or none
        groups = np.where(of_group < 0, num_groups, of_group // num_samples)
        places = np.where(of_group < 0, 0, self._scheduler.place_of_slot[of_group])
        return TileRows(np.where(chosen < 0, num_groups * num_samples, chosen), groups, places)

    def _take_out(self, entry: Entry) -> list[Trajectory]:
        first, request = self._first_row(entry.place, entry.group), self._requests.pop(entry.prompt)
        return self._responses.take_out(
            request, range(first, first + self._geometry.num_samples), self._weights.version
        )

    def _first_row(self, place: int, group: int) -> int:
        """First row of the prompt's samples in `Responses`: each place of each group has G rows."""
        return place * self._geometry.num_slots + group * self._geometry.num_samples

    def _rows(self, slots: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
        """Rows in `Responses` of the samples in these slots; -1 for no slot."""
        scheduler, geometry = self._scheduler, self._geometry
        first_slots = slots // geometry.num_samples * geometry.num_samples
        rows = scheduler.place_of_slot[slots] * geometry.num_slots + first_slots
        return np.where(slots < 0, -1, rows + scheduler.sample_of_slot[slots] % geometry.num_samples)

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

    def _slots(self, chosen: Int[np.ndarray, "X"]) -> Slots:
        """The chosen slots; an empty one decodes token 0 and is never read."""
        scheduler, sampling = self._scheduler, self._sampling
        taken = np.flatnonzero(chosen >= 0)
        samples, rows = scheduler.sample_of_slot[chosen[taken]], self._rows(chosen[taken])
        counts = self._responses.lengths[rows]
        of_slot = [self._requests[i] for i in (samples // sampling.num_samples).tolist()]
        last = np.array([request.prompt.ids[-1] for request in of_slot])
        if (going_on := counts > 0).any():
            last[going_on] = self._responses.last_tokens(rows[going_on])

        def by_slot(
            values: Int[np.ndarray, "taken"] | list[int], dtype: type[np.integer] = np.int32
        ) -> Int[np.ndarray, "X"]:
            filled = np.zeros(len(chosen), dtype)
            filled[taken] = values
            return filled

        prefilled = np.array([len(request.prompt.ids) - 1 for request in of_slot])
        num_places = self._geometry.num_places if self._tile is None else 1
        bounds = np.zeros((len(chosen), num_places), np.int32)
        bounds[taken, scheduler.place_of_slot[chosen[taken]] if self._tile is None else 0] = prefilled
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
    """Cache blocks that the prompt fills, without its last token, which is decoded."""
    return num_blocks_for(len(request.prompt.ids) - 1, geometry.prompt_blocks)


def geometry_of(setup: Setup, sampling: Sampling, num_requests: int) -> Geometry:
    """What the programs of one Sampling are compiled for."""
    num_shards = num_row_shards(setup.mesh)
    num_own = -(-sampling.max_tokens // PAGE) * PAGE - PAGE  # the last page is never read again
    num_groups = -(-setup.slots // (sampling.num_samples * num_shards)) * num_shards
    return Geometry(
        graph=setup.graph,
        num_groups=num_groups,
        num_samples=sampling.num_samples,
        # By the requests known at the start, so that a call's prompts use the same programs whether or not more come.
        # Places cost memory and attention. Late requests wait until a whole group is free.
        num_places=num_places_for(num_requests, sampling.num_samples, num_groups),
        prompt_blocks=block_sizes(padded(setup.max_prompt_tokens - 1, unit=PAGE), first=FIRST_PROMPT_BLOCK),
        own_blocks=block_sizes(padded(num_own, unit=PAGE), first=FIRST_OWN_BLOCK),
        dtype=jnp.dtype(setup.model.compute_dtype),
        sharding=cache_sharding(setup.mesh, setup.model.num_kv_heads),
        method=method_of(sampling),
    )


def _tile_shape(setup: Setup, sampling: Sampling, num_slots: int) -> TileShape | None:
    """Shape of the tiles; None: one program decodes all slots."""
    on_cpu = setup.mesh.devices.flat[0].platform == "cpu"
    tiles = on_cpu and bool(sampling.stop_token_ids or sampling.stop_strings)  # where lengths differ
    automatic = max(TILE_SLOTS, num_slots // MOST_TILES) if tiles else num_slots
    limit = setup.tile_slots or automatic
    if num_slots <= limit or num_row_shards(setup.mesh) > 1:
        return None
    lengths = setup.max_prompt_tokens, sampling.max_tokens
    return tile_shape(num_slots, limit, group_size_for(sampling.num_samples, *lengths))


def cache_shapes(setup: Setup, geometry: Geometry) -> tuple[CacheShape, CacheShape]:
    """The caches of the prompts and of the responses."""
    sizes = setup.model.num_layers, setup.model.num_kv_heads, setup.model.head_dim, geometry.dtype
    of_prompts = tuple(geometry.num_places * size for size in geometry.prompt_blocks)
    own = CacheShape(geometry.num_slots, geometry.own_blocks, *sizes)
    return CacheShape(geometry.num_groups, of_prompts, *sizes), own


def fitting_caches(setup: Setup, sampling: Sampling, num_requests: int, settings: CacheSettings) -> list[CacheShape]:
    """The caches of a `Round`; raises a ValueError if they do not fit in memory."""
    prompts, own = cache_shapes(setup, geometry_of(setup, sampling, setup.num_prompts or num_requests))
    check_memory(prompts, own, available=free_bytes(setup.mesh), settings=settings)
    return [prompts, own]


def _arrays(sampling: Sampling) -> SamplingArrays:
    return SamplingArrays(
        temperature=np.float32(sampling.temperature),
        truncation=Truncation(np.float32(sampling.top_p), np.int32(sampling.top_k), np.float32(sampling.min_p)),
        stop_ids=np.array(sampling.stop_token_ids, np.int32),
    )

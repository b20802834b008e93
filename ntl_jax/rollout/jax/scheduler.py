# SPDX-License-Identifier: Apache-2.0
"""Assigns samples to slots, on the host: finished samples leave and waiting ones enter between segments."""

import collections
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from ntl_jax.rollout.jax.cache import TileShape

MAX_PLACES = 4
"""Prompts that a group of slots serves at a time, so that a prompt's slowest sample does not delay the next one. With
log-normal lengths between 8 and 512 and 8 samples each, 1 place keeps 34% of the slots busy, 3 keep 71%, 4 keep 75%."""

PROMPT_SHARE = 0.5
"""A group of a tile's slots reads a prompt of at most this share of max_tokens for each of its slots."""


class Entry(NamedTuple):
    """A prompt and its location: a place in a group of slots."""

    prompt: int
    place: int
    group: int


class Scheduler:
    """Deals prompts to groups of G slots, and each prompt's samples to its group's slots.

    A group has places for a few prompts: a prompt keeps its place until its last sample has finished. Prompts are
    numbered in the order in which they are added; a sample's number is prompt x G + sample index.

    Args:
        num_samples: samples per prompt, G.
        num_groups: number of groups of G slots.
        num_places: places per group.

    Attributes:
        sample_of_slot: [groups x G], -1 for an empty slot.
        place_of_slot: [groups x G], the place of the slot's prompt; undefined for an empty slot.
        prompt_of_place: [places, groups], -1 for a free place.

    Example:
        >>> scheduler = Scheduler(num_samples=2, num_groups=1, num_places=2)
        >>> scheduler.add(), scheduler.add()
        (0, 1)
        >>> [entry.prompt for entry in scheduler.admit()], scheduler.sample_of_slot.tolist()
        ([0], [0, 1])
        >>> scheduler.release(np.array([True, False]))
        []
        >>> [entry.prompt for entry in scheduler.admit()], scheduler.sample_of_slot.tolist()
        ([1], [2, 1])
        >>> [entry.prompt for entry in scheduler.release(np.array([False, True]))]
        [0]
    """

    def __init__(self, *, num_samples: int, num_groups: int, num_places: int):
        self._num_samples, self._num_added = num_samples, 0
        self._prompts: collections.deque[int] = collections.deque()
        self._waiting: list[collections.deque[tuple[int, int]]] = [collections.deque() for _ in range(num_groups)]
        self._unfinished = np.zeros((num_places, num_groups), int)
        self.sample_of_slot = np.full(num_groups * num_samples, -1)
        self.place_of_slot = np.zeros(num_groups * num_samples, int)
        self.prompt_of_place = np.full((num_places, num_groups), -1)

    def add(self) -> int:
        """Adds a prompt, whose samples wait for slots; returns the prompt's number."""
        self._prompts.append(self._num_added)
        self._num_added += 1
        return self._prompts[-1]

    def admit(self) -> list[Entry]:
        """Fills free slots; returns the newly admitted prompts."""
        entries = []
        for slot in np.flatnonzero(self.sample_of_slot < 0).tolist():
            group = slot // self._num_samples
            waiting = self._waiting[group]
            free_places = np.flatnonzero(self.prompt_of_place[:, group] < 0)
            if not waiting and self._prompts and len(free_places):
                prompt, place = self._prompts.popleft(), int(free_places[0])
                self.prompt_of_place[place, group], self._unfinished[place, group] = prompt, self._num_samples
                entries.append(Entry(prompt, place, group))
                waiting.extend((prompt * self._num_samples + i, place) for i in range(self._num_samples))
            if waiting:
                self.sample_of_slot[slot], self.place_of_slot[slot] = waiting.popleft()
        return entries

    def release(self, finished: Bool[np.ndarray, "X"]) -> list[Entry]:
        """Empties the finished slots and the places of prompts without samples left; returns these prompts."""
        slots = np.flatnonzero(finished)
        np.subtract.at(self._unfinished, (self.place_of_slot[slots], slots // self._num_samples), 1)
        self.sample_of_slot[slots] = -1
        done = (self.prompt_of_place >= 0) & (self._unfinished == 0)
        entries = [
            Entry(int(self.prompt_of_place[place, group]), int(place), int(group)) for place, group in np.argwhere(done)
        ]
        self.prompt_of_place[done] = -1
        return sorted(entries)


def num_places_for(num_prompts: int, num_samples: int, num_groups: int) -> int:
    """Places per group: 1 if every prompt has its own group or only one sample."""
    return 1 if num_prompts <= num_groups else min(num_samples, MAX_PLACES)


def arrange(prompts: Int[np.ndarray, "n"], counts: Int[np.ndarray, "n"], tile: TileShape) -> Int[np.ndarray, "tiles X"]:
    """Deals n unfinished samples to as few tiles as hold them, by length, so that few tiles read many positions.

    Samples of one prompt fill groups of slots, longest first; the groups fill tiles, longest first.

    Args:
        prompts: each sample's prompt.
        counts: number of tokens that the sample has.
        tile: shape of a tile.

    Returns:
        In each tile's slots, the indices of the samples; -1 in an empty slot.

    Example:
        >>> arrange(np.array([7, 7, 7, 9, 9]), np.array([16, 48, 32, 80, 80]), TileShape(num_groups=2, group_size=2))
        array([[ 3,  4,  1,  2],
               [ 0, -1, -1, -1]])
    """
    order = np.lexsort((-counts, prompts))
    starts = np.flatnonzero(np.diff(prompts[order], prepend=-1))
    in_prompt = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    in_group = in_prompt % tile.group_size
    firsts = in_group == 0
    by_length = np.argsort(-counts[order[firsts]], kind="stable")
    rank = np.empty_like(by_length)
    rank[by_length] = np.arange(len(by_length))
    num_tiles = -(-len(by_length) // tile.num_groups)
    slots = np.full(num_tiles * tile.num_slots, -1)
    slots[rank[np.cumsum(firsts) - 1] * tile.group_size + in_group] = order
    return slots.reshape(num_tiles, tile.num_slots)


def group_size_for(num_samples: int, max_prompt_tokens: int, max_tokens: int) -> int:
    """Slots per group of a tile: few, so that few stay empty, but a prompt's positions are read once for all of them.

    Example:
        >>> [group_size_for(8, prompt, max_tokens=128) for prompt in (64, 128, 400)]
        [1, 2, 8]
    """
    sizes = (size for size in range(1, num_samples) if num_samples % size == 0)
    return next((size for size in sizes if max_prompt_tokens <= PROMPT_SHARE * max_tokens * size), num_samples)


def tile_shape(num_slots: int, limit: int, group_size: int) -> TileShape:
    """The shape of as few tiles of at most ``limit`` slots as hold ``num_slots``, all alike.

    Example:
        >>> tile_shape(192, limit=128, group_size=2)
        TileShape(num_groups=48, group_size=2)
    """
    num_tiles = -(-num_slots // max(limit // group_size * group_size, group_size))
    return TileShape(-(-num_slots // (num_tiles * group_size)), group_size)

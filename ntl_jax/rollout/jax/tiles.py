# SPDX-License-Identifier: Apache-2.0
"""Deals unfinished samples to tiles, on the host, and keeps what the slots of a tile read while they stay in it."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from ntl_jax.rollout.jax.cache import Cache

PROMPT_SHARE = 0.5
"""A group of a tile's slots reads a prompt of at most this share of max_tokens for each of its slots."""


@dataclasses.dataclass(frozen=True)
class TileShape:
    """Slots that one program decodes where it decodes some of all: groups of slots with one prompt each.

    Args:
        num_groups: groups per tile.
        group_size: slots per group.
    """

    num_groups: int
    group_size: int

    @property
    def num_slots(self) -> int:
        return self.num_groups * self.group_size


Copies = tuple[Cache, Cache]
"""Prompts of a tile's groups, and its slots' own tokens, each lying together."""


class Tiles:
    """Which slots each tile decodes, and the tile's copies of their keys and values.

    Samples stay in their tile until fewer tiles can hold them or new samples come: moving a sample means copying all
    that it reads.

    Args:
        shape: of every tile.
        keep_copies: whether copies are kept from one segment to the next; they take memory.

    Example:
        >>> tiles = Tiles(TileShape(num_groups=2, group_size=1), keep_copies=True)
        >>> slots, prompts, counts = np.arange(4), np.array([0, 0, 1, 1]), np.array([16, 32, 16, 32])
        >>> tiles.deal(slots, slots, prompts, counts)
        array([[1, 3],
               [0, 2]])
        >>> tiles.deal(slots[1:], slots[1:], prompts[1:], counts[1:])  # 2 stays where it is
        array([[ 1,  3],
               [-1,  2]])
        >>> tiles.deal(slots[2:], slots[2:], prompts[2:], counts[2:])
        array([[3, 2]])
    """

    def __init__(self, shape: TileShape, *, keep_copies: bool):
        self.shape, self._keep_copies = shape, keep_copies
        self._slots = self._samples = np.full((0, shape.num_slots), -1)
        self._copies: dict[int, tuple[tuple[int, int], Copies]] = {}

    def deal(
        self,
        slots: Int[np.ndarray, "n"],
        samples: Int[np.ndarray, "n"],
        prompts: Int[np.ndarray, "n"],
        counts: Int[np.ndarray, "n"],
    ) -> Int[np.ndarray, "tiles X"]:
        """The slots that each tile decodes; -1: none.

        Args:
            slots: all slots with unfinished samples.
            samples: the sample in each of them.
            prompts, counts: as in `arrange`.
        """
        dealt = arrange(prompts, counts, self.shape)
        stay = np.isin(self._samples, samples)  # -1 is no sample
        if len(dealt) != len(self._samples) or stay.sum() < len(samples):
            self._copies.clear()
            self._slots, self._samples = (np.where(dealt < 0, -1, of[dealt]) for of in (slots, samples))
        else:
            self._slots, self._samples = (np.where(stay, of, -1) for of in (self._slots, self._samples))
        return self._slots

    def take_copies(self, tile: int, num_blocks: tuple[int, int], copy: Callable[[], Copies]) -> Copies:
        """The tile's copies with that many blocks of prompts and own tokens: kept ones, or new ones."""
        kept_blocks, kept = self._copies.pop(tile, (None, None))
        return kept if kept is not None and kept_blocks == num_blocks else copy()

    def keep(self, tile: int, num_blocks: tuple[int, int], copies: Copies) -> None:
        """Keeps the copies, to which decoding has added its page, until the tile's samples change."""
        if self._keep_copies:
            self._copies[tile] = num_blocks, copies


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

# SPDX-License-Identifier: Apache-2.0
"""Stands in for Ray's object store, which is a process: what is put there is pickled, and comes out read-only."""

import pickle
from collections.abc import Sequence
from typing import Any


class ObjectStore:
    """Objects by number; their arrays are what a reader maps."""

    def __init__(self):
        self._objects: list[tuple[bytes, list[bytearray]]] = []

    def put(self, value: Any) -> int:
        buffers: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        self._objects.append((pickled, [bytearray(buffer.raw()) for buffer in buffers]))
        return len(self._objects) - 1

    def get(self, references: Sequence[int]) -> list[Any]:
        found = [self._objects[reference] for reference in references]
        return [pickle.loads(pickled, buffers=[memoryview(b).toreadonly() for b in parts]) for pickled, parts in found]

    def flip_bit(self, reference: int, byte: int) -> None:
        """Damages an object, by a byte counted through its arrays."""
        for part in self._objects[reference][1]:
            if byte < len(part):
                part[byte] ^= 1
                return
            byte -= len(part)

    def num_bytes(self, reference: int) -> int:
        """Size of an object's arrays."""
        return sum(map(len, self._objects[reference][1]))

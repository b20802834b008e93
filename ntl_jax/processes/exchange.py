# SPDX-License-Identifier: Apache-2.0
"""Values of the host that all processes must have alike. All must call each of these functions, in the same order.

With one process nothing runs, and no device is used.
"""

import pickle
import struct
from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

Value = TypeVar("Value")
LENGTH = struct.Struct("<Q")
OF_ANOTHER = "raised in process"
"""How the note of an error begins that another process has raised."""
FIRST_BYTES = 1024
"""What fits here, beside its length, takes one exchange; longer values take a second one."""


def num_processes() -> int:
    """How many processes train together.

    Example:
        >>> num_processes(), process_id(), is_first()
        (1, 0, True)
    """
    return jax.process_count() if jax.distributed.is_initialized() else 1


def process_id() -> int:
    """Number of this process, from 0."""
    return jax.process_index() if jax.distributed.is_initialized() else 0


def is_first() -> bool:
    """Whether this process writes what the processes write together."""
    return process_id() == 0


def gather(value: Value) -> list[Value]:
    """The values of all processes, in their order; any objects that can be pickled.

    Example:
        >>> gather("mine")
        ['mine']
    """
    if num_processes() == 1:
        return [value]
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    begins = _all_bytes((LENGTH.pack(len(data)) + data)[:FIRST_BYTES], FIRST_BYTES)
    lengths = [LENGTH.unpack_from(begin)[0] for begin in begins]
    rest = max(lengths) - (FIRST_BYTES - LENGTH.size)
    ends: Sequence[bytes] = [b""] * len(begins)
    if rest > 0:  # a power of two, so that few programs are compiled
        ends = _all_bytes(data[FIRST_BYTES - LENGTH.size :], 1 << (rest - 1).bit_length())
    whole = [begin[LENGTH.size :] + end for begin, end in zip(begins, ends, strict=True)]
    return [pickle.loads(data[:length]) for data, length in zip(whole, lengths, strict=True)]


def _all_bytes(data: bytes, size: int) -> list[bytes]:
    """The bytes of each process, padded to the same size."""
    padded = np.zeros(size, np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    return [row.tobytes() for row in np.asarray(multihost_utils.process_allgather(padded))]


def from_first(value: Value) -> Value:
    """The value of the first process.

    Example:
        >>> from_first("its own")
        'its own'
    """
    return value if num_processes() == 1 else gather(value if is_first() else None)[0]  # pyright: ignore[reportReturnType]


def agreed(call: Callable[[], Value]) -> list[Value]:
    """Calls the function and gathers what it returns; an error of any process is raised in all of them.

    Args:
        call: may raise errors that can be pickled; a ``RuntimeError``, ``ValueError`` or ``OSError`` is passed on.

    Raises:
        Exception: that of the first process that has one.

    Example:
        >>> agreed(lambda: 1 + 1)
        [2]
    """
    if num_processes() == 1:
        return [call()]
    value = error = None
    try:
        value = call()
    except (RuntimeError, ValueError, OSError) as raised:
        error = raised
    found = gather((value, error))
    if error is not None and all(other is None for _, other in found[: process_id()]):
        raise error  # with its own traceback
    for number, (_, other) in enumerate(found, 1):
        if other is not None:
            other.add_note(f"{OF_ANOTHER} {number} of {len(found)}")
            raise other
    return [value for value, _ in found]  # pyright: ignore[reportReturnType]


def all_do(call: Callable[[], Value]) -> Value:
    """What the function returns in this process, if it raises in none: an error of any is raised in all.

    Args:
        call: as in `agreed`; it must not wait for other processes. What it returns need not be picklable.

    Example:
        >>> all_do(lambda: "read")
        'read'
    """
    found: list[Value] = []
    agreed(lambda: found.append(call()))
    return found[0]


def is_of_another(error: BaseException) -> bool:
    """Whether another process has raised it, which knows where.

    Example:
        >>> is_of_another(ValueError("mine"))
        False
    """
    return any(note.startswith(OF_ANOTHER) for note in getattr(error, "__notes__", ()))


def first_does(call: Callable[[], Value]) -> Value:
    """What the function returns in the first process, which alone calls it; its error is raised in all processes.

    Args:
        call: as in `agreed`.

    Example:
        >>> first_does(lambda: "written")
        'written'
    """
    return agreed(call if is_first() else lambda: None)[0]  # pyright: ignore[reportReturnType]


def barrier() -> None:
    """Waits until all processes are here.

    Example:
        >>> barrier()
    """
    gather(None)

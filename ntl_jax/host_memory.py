# SPDX-License-Identifier: Apache-2.0
"""The host's memory: how much there is, and what the C library does with what compiled programs free."""

import contextlib
import ctypes
import os
import pathlib
import platform

CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # versions 2 and 1
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of malloc.h


def keep_freed_memory() -> None:
    """Lets the process keep what it frees, and hand it out again: train steps on CPU take a tenth less time.

    XLA:CPU allocates a program's temporaries at every call. By default glibc gets blocks of such sizes from the kernel
    each time, which zeroes them page by page: 180,000 page faults in a step of 3M parameters. With one arena that never
    shrinks there are none, and the process holds its peak: 2.2 GB there and not 1.5. To be called before the first
    computation, since threads keep the arenas they have. Does nothing where the C library is another one.

    Example:
        >>> keep_freed_memory()
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for parameter, value in ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)):
        libc.mallopt(parameter, value)


def machine_bytes() -> int:
    """Memory that this process may use, in bytes: the machine's, or less where its container has a limit.

    Example:
        >>> machine_bytes() > 2**20
        True
    """
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in CONTAINER_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # without a limit there is no file, or the word "max"
            sizes.append(int(pathlib.Path(path).read_text()))
    return min(sizes)

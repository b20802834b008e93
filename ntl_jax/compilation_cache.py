# SPDX-License-Identifier: Apache-2.0
"""Keeps compiled programs on disk: a second run with the same settings loads them and compiles none."""

import hashlib
import importlib.metadata
import os
import pathlib
import platform
import shutil
import sys
import time

import filelock
import jax

from ntl_jax.config import from_home, named

MOST_BYTES = 2**30
"""Limit of a folder's size; beyond it, the programs that were not used for the longest time are removed."""
UNUSED_DAYS = 60
"""Folders for other processors or versions are removed after this many days without a run."""
CPU_LINES = ("vendor_id", "cpu family", "model", "flags", "CPU implementer", "CPU part", "Features")
"""Lines of /proc/cpuinfo that decide which instructions a program is compiled to."""
LOCK = ".lockfile"
"""JAX locks this file around every access to its folder."""


def keep_programs(setting: str = "auto") -> pathlib.Path | None:
    """Turns on JAX's compilation cache for the whole process, unless the user has already chosen a folder for it.

    Results do not depend on it: the same compiler wrote the programs, for the same processor. A folder that cannot be
    written costs a warning, and the process compiles its programs.

    Args:
        setting: "auto", for a subfolder of the user's cache folder; "off"; or a folder. A subfolder by processor and
            versions (`cache_key`) holds the programs.

    Raises:
        ValueError: if the setting names a home folder that is not there.

    Returns:
        The folder in use; None if no programs are kept.

    Example:
        >>> folder = keep_programs("off")  # None, unless JAX_COMPILATION_CACHE_DIR names a folder
    """
    with named("trainer.compilation_cache", setting):
        above = user_folder("xla") if setting == "auto" else from_home(setting)
    chosen = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if setting == "off" or chosen:
        return pathlib.Path(chosen) if chosen else None
    folder = above / cache_key()
    try:
        prepare(folder)
    except (OSError, NotImplementedError) as error:  # filelock raises the latter on file systems without locks
        print(
            f"warning: compiled programs are not kept, since {folder} cannot be written ({error}): set "
            "trainer.compilation_cache to another folder, or to off",
            file=sys.stderr,
        )
        return None
    jax.config.update("jax_compilation_cache_max_size", MOST_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # a run compiles dozens of small programs
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


def user_folder(name: str) -> pathlib.Path:
    """``ntl_jax/NAME`` in the user's cache folder: XDG_CACHE_HOME, or ~/.cache."""
    return from_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ntl_jax" / name


def cache_key() -> str:
    """A hash of what decides whether a compiled program fits: processor, versions of jax and jaxlib, XLA_FLAGS.

    JAX's own keys hold versions and flags but not the instructions of the host's processor. In a home folder that
    several machines share, a program of another machine could end the process.

    Example:
        >>> len(cache_key())
        16
    """
    versions = [importlib.metadata.version(name) for name in ("jax", "jaxlib")]
    parts = [*versions, os.environ.get("XLA_FLAGS", ""), *processor()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def processor() -> list[str]:
    """The processor's kind and instructions: lines of /proc/cpuinfo where there is one."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return [platform.machine(), platform.processor()]
    found = [line for line in lines.splitlines() if line.partition(":")[0].strip() in CPU_LINES]
    return [platform.machine(), *found]


def prepare(folder: pathlib.Path) -> None:
    """Makes the folder, and removes what processes that were killed left unfinished, and folders that are unused.

    JAX writes a program to ``*-cache`` and then the time of its last use to ``*-atime``. A program without a time may
    be cut short, and JAX would neither replace it nor find room for others.

    Args:
        folder: of the programs; its neighbors belong to other processors and versions.

    Raises:
        OSError: if it cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with filelock.FileLock(folder / LOCK, timeout=10):
        for program in folder.glob("*-cache"):
            if not program.with_name(program.name.removesuffix("-cache") + "-atime").exists():
                program.unlink()
    os.utime(folder)
    for other in folder.parent.iterdir():
        if (other / LOCK).is_file() and time.time() - other.stat().st_mtime > UNUSED_DAYS * 86_400:
            shutil.rmtree(other, ignore_errors=True)

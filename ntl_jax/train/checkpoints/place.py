# SPDX-License-Identifier: Apache-2.0
"""Where a run's checkpoints lie, which of them are whole, and how they come and go: in a folder, or in a bucket.

In a folder a checkpoint is written under another name and gets its own by a rename, which does all or nothing. Buckets
have no such rename: there a checkpoint has its name from the start, and is whole while its manifest is there, which is
written last and deleted first.
"""

import contextlib
import importlib.util
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from ntl_jax.processes.exchange import agreed, first_does, is_first, num_processes
from ntl_jax.train.checkpoints.manifest import MANIFEST, seal

FOLDER = "checkpoints"
"""Subfolder of a run folder."""
PART, DAMAGED = ".part", ".damaged"
"""Ends of the names of checkpoints that are not whole yet or no longer, and of those that are kept for the user."""
OWNER = "run.txt"
"""File that says whose checkpoints these are, where they do not lie in the run folder."""
ARRAYS = "state"
"""Subfolder of a checkpoint with the arrays, of which a bucket keeps checksums of its own."""
Place = Path | epath.Path
"""A folder of this machine, or below a bucket. Orbax reads and writes both."""


def place_of(run: Path, elsewhere: str | None) -> Place:
    """The folder of a run's checkpoints.

    Args:
        run: the run folder.
        elsewhere: the setting ``trainer.checkpoint_folder``.

    Raises:
        ValueError: if the package for buckets is not installed.

    Example:
        >>> place_of(Path("/runs/mine"), None).as_posix(), place_of(Path("/runs/mine"), "/disk/mine").as_posix()
        ('/runs/mine/checkpoints', '/disk/mine')
    """
    if elsewhere is None:
        return (run / FOLDER).absolute()
    if not elsewhere.startswith("gs://"):
        return Path(elsewhere)
    if importlib.util.find_spec("gcsfs") is None:
        raise ValueError(
            f"trainer.checkpoint_folder={elsewhere!r} needs the package gcsfs, which is not installed: "
            "pip install 'ntl_jax[gcs]'"
        )
    from fsspec.config import conf

    # Orbax's arrays go past this package, whose lists would not show them.
    conf.setdefault("gcs", {})["use_listings_cache"] = False
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it writes tracebacks of what is raised too
    return epath.Path(elsewhere)


def storage_errors() -> tuple[type[Exception], ...]:
    """What reading and writing raise: the system's errors, and once a bucket is used those of its packages."""
    if "gcsfs" not in sys.modules:
        return (OSError,)
    from gcsfs.retry import (  # pyright: ignore[reportMissingImports]
        RETRIABLE_EXCEPTIONS,
        HttpError,
        NonRetryableError,
    )

    return OSError, HttpError, NonRetryableError, *RETRIABLE_EXCEPTIONS


@contextlib.contextmanager
def system_errors() -> Iterator[None]:
    """Within this context, and in functions that it decorates, what buckets raise becomes an ``OSError``."""
    try:
        yield
    except storage_errors() as error:
        if isinstance(error, OSError):
            raise
        raise OSError(str(error) or type(error).__name__) from error


@contextlib.contextmanager
def reserved(run: Path, elsewhere: str | None, *, resume: bool) -> Iterator[None]:
    """Within this context the place exists, can be written, and belongs to the run; all processes must call it.

    Nothing is done where checkpoints lie in the run folder. On exit a place without checkpoints is free again.

    Args:
        run: the run folder.
        elsewhere: the setting ``trainer.checkpoint_folder``.
        resume: whether the place may hold the checkpoints of this run.

    Raises:
        ValueError: if it holds something else, or cannot be read or written by one of the processes.
    """
    if elsewhere is None:
        yield
        return
    place = place_of(run, elsewhere)
    first_does(lambda: _reserve(place, run, resume))
    unseen = [number for number, seen in enumerate(agreed(lambda: _is_there(place)), 1) if not seen]
    if unseen:
        raise ValueError(
            f"process {unseen[0]} of {num_processes()} does not see trainer.checkpoint_folder={elsewhere!r} of the "
            "first: name a folder that all of them share, or gs://BUCKET/PATH"
        )
    try:
        yield
    finally:
        with contextlib.suppress(*storage_errors()):
            if is_first() and [path.name for path in place.iterdir()] == [OWNER]:
                (place / OWNER).unlink()


def _reserve(place: Place, run: Path, resume: bool) -> None:
    """Writes whose checkpoints these are; raises a ValueError as `reserved`."""
    with _explained(place):
        if isinstance(place, Path):
            place.mkdir(parents=True, exist_ok=True)
        found = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
        if found and not resume:
            whose = f"checkpoints of the run {(place / OWNER).read_text()}" if OWNER in found else repr(found[0])
            raise ValueError(
                f"trainer.checkpoint_folder={str(place)!r} holds {whose}: name a folder of the new run's own, such as "
                f"{place / run.name}, or resume that run"
            )
        if not _write_new(place / OWNER, str(run.absolute())) and not resume:
            raise ValueError(f"trainer.checkpoint_folder={str(place)!r} has just been taken by another run")


def _write_new(path: Place, text: str) -> bool:
    """Writes a file unless there is one, as one operation of the system or the bucket; returns whether it has."""
    try:
        if isinstance(path, Path):
            path.open("x").close()
            path.write_text(text, encoding="utf-8")
        else:
            import fsspec

            with fsspec.filesystem("gcs").open(str(path), "xb") as file:  # which epath does not offer
                file.write(text.encode())
    except FileExistsError:
        return False
    return True


def _is_there(place: Place) -> bool:
    with _explained(place):
        return (place / OWNER).exists()


@contextlib.contextmanager
def _explained(place: Place) -> Iterator[None]:
    try:
        with system_errors():
            yield
    except OSError as error:
        why = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
        raise ValueError(
            f"trainer.checkpoint_folder={str(place)!r} cannot be read and written ({why}): name another, or mend its "
            "name, credentials and permissions"
        ) from error


@system_errors()
def steps_in(folder: Place) -> list[int]:
    """The steps of whole checkpoints, of which an older version may have written some, the newest first."""
    if not folder.is_dir():
        return []
    steps = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
    return sorted((step for step in steps if _is_whole(folder / str(step))), reverse=True)


def _is_whole(checkpoint: Place) -> bool:
    return isinstance(checkpoint, Path) or (checkpoint / MANIFEST).exists()


@system_errors()
def clean(folder: Place) -> None:
    """Makes the folder of a stage, and removes what a killed process left in it."""
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        if not path.name.endswith(DAMAGED) and not (path.name.isdigit() and _is_whole(path)):
            remove(path)


def unfinished(checkpoint: Place) -> Place:
    """Where a checkpoint of this name is written until it is whole."""
    return checkpoint.with_name(f"{checkpoint.name}{PART}") if isinstance(checkpoint, Path) else checkpoint


@system_errors()
def finish(checkpoint: Place) -> None:
    """Seals a checkpoint that was written to `unfinished`, and gives it its name: it is whole or not there.

    Raises:
        OSError: if that cannot be done; nothing of it is left then.
    """
    part = unfinished(checkpoint)
    try:
        seal(part, without=None if isinstance(part, Path) else ARRAYS)
        if isinstance(part, Path):
            part.rename(checkpoint)
    except storage_errors():
        with contextlib.suppress(OSError):
            remove(part)
        raise


@system_errors()
def withdraw(checkpoint: Place) -> None:
    """Deletes a whole checkpoint; a process that is killed meanwhile leaves no half of one."""
    if isinstance(checkpoint, Path):
        remove(checkpoint.rename(unfinished(checkpoint)))
    else:
        (checkpoint / MANIFEST).unlink()
        remove(checkpoint)


@system_errors()
def set_aside(checkpoint: Place) -> str:
    """Renames a damaged checkpoint, which a bucket does by copies; returns its new name."""
    kept = checkpoint.with_name(f"{checkpoint.name}{DAMAGED}")
    with contextlib.suppress(FileNotFoundError):
        remove(kept)
    checkpoint.rename(kept)  # pyright: ignore[reportArgumentType]  both are of one kind
    return kept.name


@system_errors()
def remove(folder: Place) -> None:
    """Deletes a folder and everything in it.

    Raises:
        OSError: if it is not there, or cannot be deleted.
    """
    shutil.rmtree(folder) if isinstance(folder, Path) else folder.rmtree()

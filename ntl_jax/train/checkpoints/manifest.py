# SPDX-License-Identifier: Apache-2.0
"""The manifest of a checkpoint: length and sha256 of each file, so that damage is noticed before anything is loaded."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from etils import epath

MANIFEST = "manifest.json"
"""File in a checkpoint's folder. It is written last, before the folder gets its name."""


def seal(folder: Path | epath.Path, *, without: str | None = None) -> None:
    """Writes the manifest of all files below a folder.

    Args:
        folder: on this machine or below a bucket.
        without: a subfolder of large files, of which only the length is recorded.

    Raises:
        OSError: if a file cannot be read, or the manifest not written.

    Example: see `damage_of`.
    """
    contents = {}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        digest = None if without and name.startswith(f"{without}/") else _sha256(path)
        contents[name] = {"bytes": _num_bytes(path), "sha256": digest}
    (folder / MANIFEST).write_text(_text(contents), encoding="utf-8")


def is_sealed(folder: Path | epath.Path) -> bool:
    """Whether there is a manifest; versions before it wrote none."""
    return (folder / MANIFEST).exists()


def damage_of(folder: Path | epath.Path, *, without: str | None = None) -> str | None:
    """How a sealed folder differs from its manifest; None: not at all.

    Args:
        folder: with a manifest.
        without: a subfolder of large files, of which only the length is compared.

    Raises:
        OSError: if a file that is there cannot be read.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "state").write_text("1234")
        >>> seal(folder)
        >>> damage_of(folder)
        >>> _ = (folder / "state").write_text("12")
        >>> damage_of(folder)
        'state is cut short: 2 of 4 bytes'
    """
    try:
        text = (folder / MANIFEST).read_bytes().decode()
        contents = json.loads(text)
        expected = {name: (entry["bytes"], entry["sha256"]) for name, entry in contents.items()}
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        return f"{MANIFEST} cannot be read: {type(error).__name__}"
    if not expected or _text(contents) != text:
        return f"{MANIFEST} is not as it was written"
    for name, (num_bytes, digest) in expected.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if (found := _num_bytes(path)) != num_bytes:
            return f"{name} is {'cut short' if found < num_bytes else 'too long'}: {found:,} of {num_bytes:,} bytes"
        if digest is None or (without and name.startswith(f"{without}/")):
            continue
        if _sha256(path) != digest:
            return f"{name} has other contents than were written (sha256)"
    return None


def _text(contents: object) -> str:
    return json.dumps(contents, indent=1, sort_keys=True)


def _files(folder: Path | epath.Path) -> Iterator[Path | epath.Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def _num_bytes(path: Path | epath.Path) -> int:
    return path.stat().st_size if isinstance(path, Path) else path.stat().length


def _sha256(path: Path | epath.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]  of bytes

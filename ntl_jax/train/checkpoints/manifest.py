# SPDX-License-Identifier: Apache-2.0
"""The manifest of a checkpoint: length and sha256 of each file, so that damage is noticed before anything is loaded."""

import hashlib
import json
from pathlib import Path

MANIFEST = "manifest.json"
"""File in a checkpoint's folder. It is written last, before the folder gets its name."""


def seal(folder: Path) -> None:
    """Writes the manifest of all files below a folder.

    Raises:
        OSError: if a file cannot be read, or the manifest not written.

    Example: see `damage_of`.
    """
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    contents = {name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for name, path in files.items()}
    (folder / MANIFEST).write_text(_text(contents), encoding="utf-8")


def is_sealed(folder: Path) -> bool:
    """Whether there is a manifest; versions before it wrote none."""
    return (folder / MANIFEST).exists()


def damage_of(folder: Path, *, without: str | None = None) -> str | None:
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
        if (found := path.stat().st_size) != num_bytes:
            return f"{name} is {'cut short' if found < num_bytes else 'too long'}: {found:,} of {num_bytes:,} bytes"
        if without and name.startswith(f"{without}/"):
            continue
        if _sha256(path) != digest:
            return f"{name} has other contents than were written (sha256)"
    return None


def _text(contents: object) -> str:
    return json.dumps(contents, indent=1, sort_keys=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

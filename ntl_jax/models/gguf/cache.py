# SPDX-License-Identifier: Apache-2.0
"""Folders made of GGUF files, in the user's cache: each is converted once."""

import hashlib
import pathlib
import sys

import filelock

from ntl_jax.compilation_cache import user_folder
from ntl_jax.models.gguf.convert import convert_gguf
from ntl_jax.models.gguf.file import check_whole, open_gguf

CONVERSION = 1
"""Raised when the same file gives another folder."""
ANNOUNCED_BYTES = 10**9
"""Files of this size take a second and more to hash."""


def folder_of_gguf(path: pathlib.Path) -> pathlib.Path:
    """The Hugging Face folder of a GGUF file, in ``ntl_jax/gguf`` of the user's cache folder; converted if need be.

    Its name depends on the file's contents: a file that is moved or touched is not converted again, another file of
    the same name is. If the folder is there, the file is hashed and no more. Of several processes one converts, and the
    others wait.

    Raises:
        ValueError: as in `convert_gguf`, and if the cache folder cannot be written.
    """
    check_whole(path)
    if (size := path.stat().st_size) > ANNOUNCED_BYTES:
        print(f"hashing {path.name}, {size / 1e9:.1f} GB", file=sys.stderr, flush=True)
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()[:16]
    folder = user_folder("gguf") / f"{path.stem}-{CONVERSION}-{digest}"
    if folder.is_dir():
        return folder
    open_gguf(path)
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with filelock.FileLock(folder.with_name(f".{folder.name}.lock")):
            if not folder.is_dir():
                print(f"converting {path.name} to {folder}, once", file=sys.stderr, flush=True)
                convert_gguf(path, folder)
    except (OSError, NotImplementedError) as error:  # filelock raises the latter on file systems without locks
        raise ValueError(
            f"{path} cannot be converted, since {folder.parent} cannot be written ({error}): set XDG_CACHE_HOME to a "
            "folder that you may write to"
        ) from error
    return folder

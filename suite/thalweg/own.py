"""The user's own folders, outside of any results. Files that thalweg trusts unchecked lie there."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from functools import cache
from pathlib import Path

import platformdirs

from thalweg.guard import Refused, open_regular

KEY_BYTES = 32


def cache_folder() -> Path:
    """The folder for files that can be made again: downloads, and indices of results."""
    return Path(platformdirs.user_cache_dir("thalweg"))


def state_folder() -> Path:
    """The folder for lasting files: the key that signs the user's files."""
    return Path(platformdirs.user_state_dir("thalweg"))


@cache
def signing_key() -> bytes:
    """The user's key: 32 random bytes in the file ``key`` of the state folder, made when it is first needed.

    Raises:
        OSError: the key cannot be made, or other users may read or change it.
    """
    folder = state_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "key"
    # a link is made to a whole file, so that a second process that starts now finds the file whole
    if not os.path.lexists(path):
        partial = folder / f"key.{os.getpid()}"
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        with suppress(FileExistsError):
            os.link(partial, path)
        partial.unlink()
    try:
        with open_regular(path, KEY_BYTES) as file:
            about = os.fstat(file.fileno())
            key = file.read(KEY_BYTES)
    except Refused as error:
        raise OSError(f"{path} {error.reason}, and no key: remove it, and thalweg makes another") from error
    if hasattr(os, "getuid") and (about.st_uid != os.getuid() or about.st_mode & 0o077):
        raise PermissionError(f"{path} may be read or changed by others: remove it, and thalweg makes another")
    if len(key) != KEY_BYTES:
        raise OSError(f"{path} is no key of {KEY_BYTES} bytes: remove it, and thalweg makes another")
    return key

"""The content of a file as a checksum."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from thalweg.errors import UserError


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes in hexadecimal; read again only when the file has changed.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        state = path.stat()
        return _sha256(path, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


@functools.lru_cache(maxsize=256)
def _sha256(path: Path, modified: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Files among the results that thalweg writes for itself, signed with the user's key.

Someone may copy a results folder with these files in it, and the copies belong to whoever made them. So neither the
owner nor the mode of a file tells who wrote the file; the signature does. A file is::

    16 bytes   magic
    32 bytes   SHA-256 of its subject, a text such as a trial's identity
     8 bytes   length of the content, big-endian
    32 bytes   SHA-256 of the content
    32 bytes   HMAC-SHA256 (RFC 2104) of these 88 bytes with the user's key, see ``thalweg.own``
               content

A file with a foreign signature is refused by its first 120 bytes, however long it is.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from thalweg.guard import Refused, free, open_regular, room
from thalweg.own import signing_key

_MAGIC = b"thalweg signed 1"
_HEAD = struct.Struct(">16s32sQ32s")
_MAC = hashlib.sha256().digest_size
HEADER = _HEAD.size + _MAC
"""Bytes before the content."""


def mark(key: bytes) -> str:
    """Eight digits that tell users' files apart by name, and reveal nothing of the key."""
    return hmac.digest(key, b"thalweg mark", "sha256").hex()[:8]


def mark_or_none() -> str | None:
    """The user's own mark; None without a key."""
    try:
        return mark(signing_key())
    except OSError:
        return None


def write(path: Path, of: str, key: bytes, fill: Callable[[IO[bytes]], object]) -> None:
    """Write a signed file in place of an older one, whole or not at all.

    Args:
        path: the file. Its folder is made where it is not there.
        of: the subject of the content.
        key: the user's.
        fill: writes the content, from its first byte to its last; the content is hashed on its way and not held.

    Raises:
        OSError: the file cannot be written, or its folder is a link.
    """
    partial = free(room(path.parent) / f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(bytes(HEADER))
            sink = _Hashing(file)
            fill(cast(IO[bytes], sink))
            head = _HEAD.pack(_MAGIC, _digest(of), sink.length, sink.found.digest())
            file.seek(0)
            file.write(head + hmac.digest(key, head, "sha256"))
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


@contextmanager
def content(path: Path, of: str, key: bytes, limit: int) -> Iterator[BinaryIO | None]:
    """The file, checked and open where its content begins; None where its subject is another one.

    Args:
        path: the file.
        of: the subject that the content must have.
        key: the user's.
        limit: bytes that the content may have.

    Raises:
        FileNotFoundError: the file is missing.
        Refused: the user's key has not signed this file.
        OSError: the file cannot be read.
    """
    with open_regular(path, HEADER + limit) as file:
        about = os.fstat(file.fileno())
        if hasattr(os, "getuid") and (about.st_uid != os.getuid() or about.st_mode & 0o077):
            raise Refused("others than this user may have written it", path)
        header = file.read(HEADER)
        head, signature = header[: _HEAD.size], header[_HEAD.size :]
        if not hmac.compare_digest(hmac.digest(key, head, "sha256"), signature):
            raise Refused("is not signed with this user's key", path)
        _, found, length, digest = _HEAD.unpack(head)
        if about.st_size != HEADER + length or _file_digest(file) != digest:
            raise Refused("has other content than was signed", path)
        file.seek(HEADER)
        yield file if found == _digest(of) else None


class _Hashing:
    """Hashes what is written to a file, in order."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.found = hashlib.sha256()
        self.length = 0

    def write(self, data: bytes) -> int:
        self.found.update(data)
        self.length += len(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def _file_digest(file: Any) -> bytes:
    return hashlib.file_digest(file, "sha256").digest()


def _digest(of: str) -> bytes:
    return hashlib.sha256(of.encode()).digest()

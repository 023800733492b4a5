"""The file format of MNIST and its relatives."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thalweg.errors import UserError

GZIP = b"\x1f\x8b"
UNSIGNED_BYTE = 0x08


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """The array of bytes in an IDX file, packed with gzip or not.

    Two zero bytes, the type (8: unsigned bytes), the number of dimensions d, d sizes as big-endian 32-bit numbers, and
    the elements in row-major order (LeCun, Cortes & Burges, "The MNIST database", section on file formats).

    Raises:
        UserError: the file cannot be read, is no IDX file of bytes, or has another length than its header says.
    """
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE or content[3] == 0:
        raise UserError(f"{path}: is no IDX file of bytes")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise UserError(f"{path}: truncated: a header of {start} bytes expected, {len(content)} bytes found")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    expected = start + math.prod(shape)
    if len(content) != expected:
        wrong = "truncated" if len(content) < expected else "too long"
        raise UserError(f"{path}: {wrong}: {expected} bytes expected, {len(content)} found")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if not content.startswith(GZIP):
        return content
    broken: tuple[type[Any], ...] = (gzip.BadGzipFile, EOFError, zlib.error)
    try:
        return gzip.decompress(content)
    except broken as error:
        raise UserError(f"{path}: the gzip file is broken: {error}") from error

"""The file format of MNIST and its relatives."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from thalweg.errors import UserError

GZIP = b"\x1f\x8b"
UNSIGNED_BYTE = 0x08
MOST_BYTES = 8 << 30
"""The most elements of an array whose size is not known beforehand."""
_MOST_DIMENSIONS = 64
"""The most dimensions that a NumPy array has."""


def read_idx(path: Path, most: int = MOST_BYTES) -> npt.NDArray[np.uint8]:
    """The array of bytes in an IDX file, packed with gzip or not.

    Two zero bytes, the type (8: unsigned bytes), the number of dimensions d, d sizes as big-endian 32-bit numbers, and
    the elements in row-major order (LeCun, Cortes & Burges, "The MNIST database", section on file formats).

    A packed file is unpacked only as far as its header says, because the file may unpack to far more.

    Args:
        path: the file.
        most: elements that the array may have.

    Raises:
        UserError: the file cannot be read, is no IDX file of bytes, has another length than its header says, or more
            elements than it may have.
    """
    broken: tuple[type[Any], ...] = (gzip.BadGzipFile, EOFError, zlib.error)
    try:
        with path.open("rb") as packed:
            is_packed = packed.read(len(GZIP)) == GZIP
            packed.seek(0)
            with gzip.open(packed) if is_packed else packed as file:
                return _array(path, cast(IO[bytes], file), most)
    except broken as error:
        raise UserError(f"{path}: the gzip file is broken: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _array(path: Path, file: IO[bytes], most: int) -> npt.NDArray[np.uint8]:
    content = file.read(4)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE or content[3] == 0:
        raise UserError(f"{path}: is no IDX file of bytes")
    dimensions = content[3]
    if dimensions > _MOST_DIMENSIONS:
        raise UserError(f"{path}: has {dimensions} dimensions, and an array has {_MOST_DIMENSIONS} at most")
    start = 4 + 4 * dimensions
    content += file.read(4 * dimensions)
    if len(content) < start:
        raise UserError(f"{path}: truncated: a header of {start} bytes expected, {len(content)} bytes found")
    shape = struct.unpack(f">{dimensions}I", content[4:])
    size = math.prod(shape)
    if size > most:
        raise UserError(f"{path}: its header says that it has {size:,} elements, more than the {most:,} that are read")
    elements = file.read(size)
    if len(elements) < size:
        raise UserError(f"{path}: truncated: {start + size} bytes expected, {start + len(elements)} found")
    # also where gzip keeps its checksum
    if file.read(1):
        raise UserError(f"{path}: too long: {start + size} bytes expected, and there are more")
    return np.frombuffer(elements, np.uint8).reshape(shape).copy()

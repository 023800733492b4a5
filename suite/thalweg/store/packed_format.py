"""Packed results: one file ``<benchmark>.thalweg`` that holds the files of a benchmark's folder.

The file is a ZIP archive without compression, and equal results give equal bytes:

- the benchmark's files, sorted by name, one behind the other without a gap;
- ``SHA256SUMS``, which names every file with its digest, as ``sha256sum`` writes and checks it;
- the directory and the end record of ZIP, without comments, extra fields, times and ZIP64.

A reader accepts these bytes and refuses all others: archives of other programs, and archives with anything added,
compressed or hidden. The content of a file is checked against its digest each time it is read. So the digest of
everything behind the last result (``archive.Archive.identity``) identifies all results.
"""

from __future__ import annotations

import re
import stat
import struct
from pathlib import Path

import numpy as np

from thalweg import guard

SUFFIX = ".thalweg"
"""The ending of a packed file's name."""
SUMS = "SHA256SUMS"

MOST_FILES = 65_534
"""Files in a packed file, ``SHA256SUMS`` among them, at most: a ZIP archive counts them in 16 bits."""
MOST_BYTES = (1 << 32) - 2
"""Bytes of a packed file, at most: a ZIP archive counts them in 32 bits."""
MOST_DIRECTORY = 64 * guard.MB
"""Bytes of the directory, and of the digests, at most."""

_PART = guard.PART.pattern
NAMES = re.compile(
    rf"benchmark\.toml|timings/{_PART}\.parquet|trials/{_PART}(/{_PART}){{1,3}}"
    rf"|{_PART}/{_PART}--{guard.HASH.pattern}/(claim\.json|measurements\.parquet)"
)
"""The names of a benchmark's files that may be packed, and of the files of claims."""

# APPNOTE.TXT 6.3.10 of ZIP, sections 4.3.7, 4.3.12 and 4.3.16
LOCAL = struct.Struct("<4sHHHHHIIIHH")
ENTRY = struct.Struct("<4sHHHHHHIIIHHHHHII")
END = struct.Struct("<4sHHHHIIH")
ENTRY_FIELDS = np.dtype(
    [(name, kind) for kind, names in (
        ("S4", ["signature"]),
        ("<u2", ["made", "needed", "flags", "method", "time", "date"]),
        ("<u4", ["crc", "packed", "size"]),
        ("<u2", ["name", "extra", "comment", "disk", "internal"]),
        ("<u4", ["mode", "offset"]),
    ) for name in names]
)  # fmt: skip
"""The fields of ``ENTRY``."""
_VERSION, _UNIX = 20, 3 << 8
_FIRST_OF_1980 = 1 << 5 | 1
MODE = (stat.S_IFREG | 0o644) << 16


def local_header(name: bytes, size: int, crc: int) -> bytes:
    """The local header of a file, before its content."""
    return LOCAL.pack(b"PK\3\4", _VERSION, 0, 0, 0, _FIRST_OF_1980, crc, size, size, len(name), 0) + name


def directory_entry(name: bytes, size: int, crc: int, offset: int) -> bytes:
    """A file's entry in the directory; ``offset`` is where its local header begins."""
    made = _UNIX | _VERSION
    head = b"PK\1\2", made, _VERSION, 0, 0, 0, _FIRST_OF_1980, crc, size, size, len(name), 0, 0, 0, 0, MODE, offset
    return ENTRY.pack(*head) + name


def end_record(files: int, directory: int, offset: int) -> bytes:
    """The last bytes of a packed file: how many files, and the directory's size and place."""
    return END.pack(b"PK\5\6", 0, 0, files, files, directory, offset, 0)


def is_packed(path: Path) -> bool:
    """Whether a path has the name of a packed file and leads to a file."""
    return path.suffix == SUFFIX and guard.leads_to_file(path)

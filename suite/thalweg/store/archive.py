"""Reads the directory and the files of a packed file; ``packed_format`` tells the format."""

from __future__ import annotations

import errno
import hashlib
import itertools
import operator
import os
import re
import time
import zlib
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np

from thalweg import guard
from thalweg.guard import Refused
from thalweg.shown import brief
from thalweg.store.packed_format import (
    END,
    ENTRY,
    ENTRY_FIELDS,
    LOCAL,
    MODE,
    MOST_BYTES,
    MOST_DIRECTORY,
    MOST_FILES,
    NAMES,
    SUMS,
    directory_entry,
    end_record,
    local_header,
)

RACY = 2_000_000_000
"""Within this many nanoseconds of a change, a file may change again without a later time."""


@dataclass(frozen=True)
class Archive:
    """The directory of a packed file, checked."""

    path: Path
    identity: bytes
    """SHA-256 of everything behind the last result: the digests and the directory."""
    names: list[str]
    """The names of the results' files, sorted."""
    offsets: list[int]
    """The offset of each file's local header."""
    sizes: list[int]
    crcs: list[int]
    sums: list[str]
    """Each file's line in ``SHA256SUMS``."""
    folders: dict[str, list[str]] = field(default_factory=dict)
    """The names in folders, for folders that were listed."""

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The index of each file in these lists, by its name."""
        return {name: number for number, name in enumerate(self.names)}

    def inside(self, folder: str) -> list[str]:
        """The names of all files below a folder, sorted."""
        begin = bisect_left(self.names, f"{folder}/")
        return self.names[begin : bisect_left(self.names, f"{folder}0", begin)]  # 0 follows / in ASCII

    def size(self, name: str) -> int:
        """Bytes of a file; FileNotFoundError where the packed file has no such file."""
        if name not in self.numbers:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path / name))
        return self.sizes[self.numbers[name]]

    def read(self, name: str, limit: int) -> bytes:
        """A file's content, checked against its digest.

        Raises:
            FileNotFoundError: the packed file has no such file.
            Refused: the file is larger than ``limit``, or does not have its digest.
            OSError: the packed file cannot be read.
        """
        size, place = self.size(name), self.path / name
        if size > limit:
            raise Refused(f"has {size:,} bytes, more than the {limit:,} that are read", place)
        number = self.numbers[name]
        crc = self.crcs[number]
        header = local_header(name.encode(), size, crc)
        with guard.open_regular(self.path, MOST_BYTES) as file:
            file.seek(self.offsets[number])
            if file.read(len(header)) != header:
                raise Refused("has another header than the directory of its packed file says", place)
            content = file.read(size)
        if zlib.crc32(content) != crc or hashlib.sha256(content).hexdigest() != self.sums[number][:64]:
            raise Refused(f"has changed since it was packed: its digest is another in {SUMS}", place)
        return content


_opened: dict[Path, tuple[tuple[int, ...], Archive]] = {}
"""Directories that were read, with the state of their files."""
_KEPT = 16


def open_packed(path: Path) -> Archive:
    """The directory of a packed file; read again when the file has changed.

    Raises:
        Refused: the file is no packed file of this format, with the reason.
        OSError: the file cannot be read.
    """
    about = path.lstat()
    state = about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
    known = _opened.get(path)
    if known is not None and known[0] == state:
        return known[1]
    with guard.open_regular(path, MOST_BYTES) as file:
        about = os.fstat(file.fileno())
        state = about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
        archive = _read_directory(path, file, about.st_size)
    if time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) > RACY:
        if len(_opened) >= _KEPT:
            _opened.clear()
        _opened[path] = state, archive
    return archive


def _read_directory(path: Path, file: BinaryIO, size: int) -> Archive:
    """Read and check everything behind the last result.

    ``SHA256SUMS`` names the files. The directory must be equal to the directory that ``pack`` writes for these files,
    which excludes other flags, compression, extra fields, comments, links, times, gaps and overlaps.
    """

    def part(offset: int, length: int) -> bytes:
        file.seek(offset)
        return file.read(length)

    end = part(max(size - END.size, 0), END.size)
    if len(end) < END.size or end[:4] != b"PK\5\6":
        raise Refused("is no packed file: it does not end with the end record of a ZIP archive", path)
    *_, files, _, directory_size, directory_offset, _ = END.unpack(end)
    if end != end_record(files, directory_size, directory_offset) or not 0 < files <= MOST_FILES:
        raise Refused("is no packed file: its end record has a comment, ZIP64 or several disks", path)
    if directory_offset + directory_size + END.size != size:
        raise Refused("is no packed file: its directory does not end where its end record begins", path)
    last = directory_entry(SUMS.encode(), 0, 0, 0)
    if directory_size > MOST_DIRECTORY or directory_size < len(last):
        raise Refused(f"has a directory of {directory_size:,} bytes, and {MOST_DIRECTORY:,} at most are read", path)
    directory = part(directory_offset, directory_size)
    crc, _, length, *_, offset = ENTRY.unpack_from(directory, directory_size - len(last))[7:]
    if directory[-len(last) :] != directory_entry(SUMS.encode(), length, crc, offset):
        raise Refused(f"is no packed file: its last file is not {SUMS}", path)
    header = local_header(SUMS.encode(), length, crc)
    if length > MOST_DIRECTORY or offset + len(header) + length != directory_offset:
        raise Refused(f"is no packed file: {SUMS} does not lie before the directory", path)
    behind = part(offset, size - offset)
    content = behind[len(header) : len(header) + length]
    if behind[: len(header)] != header or zlib.crc32(content) != crc:
        raise Refused(f"is no packed file: {SUMS} is another than the directory says", path)
    if behind[len(header) + length :] != directory + end:
        raise Refused("has changed while it was read", path)
    names, sums = _sums(path, content)
    if len(names) != files - 1:
        raise Refused(f"is no packed file: {SUMS} names {len(names):,} files of {files - 1:,}", path)
    offsets, sizes, crcs = _directory(path, directory[: -len(last)], names, offset)
    return Archive(path, hashlib.sha256(behind).digest(), names, offsets, sizes, crcs, sums)


def _sums(path: Path, content: bytes) -> tuple[list[str], list[str]]:
    """The names and the lines of ``SHA256SUMS``.

    Raises:
        Refused: a name belongs to no result, or may be equal to another name.
    """
    text = content.decode("ascii", errors="replace")
    lines = text.split("\n")
    if lines.pop() or not _LINES.fullmatch(text):
        wrong = next((line for line in lines if not _LINES.fullmatch(f"{line}\n")), lines[-1] if lines else "")
        raise Refused(f"holds {brief(wrong[66:])}, which is no file of a benchmark's results, or no digest of it", path)
    names = [line[66:] for line in lines]
    if not all(map(operator.lt, names, names[1:])):
        raise Refused(f"is no packed file: {SUMS} has a name twice, or names that are not sorted", path)
    folders = {name.rpartition("/")[0] for name in names}
    # folders of weights and of probes are at most two deeper than the trial's
    folders |= {folder.rpartition("/")[0] for folder in folders}
    folders |= {folder.rpartition("/")[0] for folder in folders}
    # in lower-case content only a file and a folder can have equal names
    there = [*folders.intersection(names), *folders] if content == content.lower() else [*names, *folders]
    if len({name.lower() for name in there}) < len(there):
        counts = Counter(name.lower() for name in there)
        twice = next(name for name in there if counts[name.lower()] > 1)
        raise Refused(f"holds several things that have the name {brief(twice)} where case is ignored", path)
    return names, lines


_LINES = re.compile(rf"(?:[0-9a-f]{{64}}  (?:{NAMES.pattern})\n)*")


def _directory(path: Path, directory: bytes, names: list[str], end: int) -> tuple[list[int], list[int], list[int]]:
    """Offset, size and CRC-32 of each file; Refused where the directory is not one that ``pack`` writes."""
    lengths = np.array([len(name) for name in names], np.int64)
    places = np.cumsum(ENTRY.size + lengths) - lengths - ENTRY.size
    if len(directory) != len(names) * ENTRY.size + lengths.sum():
        raise Refused(f"is no packed file: its directory names other files than {SUMS}, or says more of them", path)
    # CRC-32 and sizes come from the entry; everything else follows from names and sizes
    own = places[:, None] + np.arange(16, 28)
    free = np.frombuffer(directory, np.uint8)[own].reshape(-1).view("<u4").reshape(-1, 3)
    sizes = free[:, 2].astype(np.int64)
    offsets = np.cumsum(LOCAL.size + lengths + sizes) - (LOCAL.size + lengths + sizes)
    wanted = np.empty(len(names), ENTRY_FIELDS)
    wanted[:] = np.frombuffer(directory_entry(b"", 0, 0, 0), ENTRY_FIELDS)
    wanted["crc"], wanted["packed"], wanted["size"] = free[:, 0], sizes, sizes
    wanted["name"], wanted["offset"] = lengths, offsets
    heads = wanted.tobytes()
    entries = [
        heads[place : place + ENTRY.size] + name.encode()
        for place, name in zip(range(0, len(heads), ENTRY.size), names, strict=True)
    ]
    if b"".join(entries) != directory:
        raise Refused(f"is no packed file: {_first_fault(directory, entries, names)}", path)
    if int((LOCAL.size + lengths + sizes).sum()) != end:
        raise Refused(f"is no packed file: {SUMS} does not begin where the last result ends", path)
    return offsets.tolist(), sizes.tolist(), free[:, 0].tolist()


def _first_fault(directory: bytes, entries: list[bytes], names: list[str]) -> str:
    """The fault of the first wrong entry in a directory."""
    places = itertools.accumulate(map(len, entries), initial=0)
    number, place = next(
        (number, place)
        for number, (place, wanted) in enumerate(zip(places, entries, strict=False))
        if directory[place : place + len(wanted)] != wanted
    )
    wanted = entries[number]
    found = directory[place : place + len(wanted)]
    if found[ENTRY.size :] != wanted[ENTRY.size :]:
        return f"the directory names other files than {SUMS}"
    _, _, _, flags, method, *_, packed, size, _, _, _, _, _, mode, offset = ENTRY.unpack_from(found)
    if flags & 1:
        how = "is encrypted"
    elif method:
        how = "is compressed"
    elif packed != size:
        how = "has two sizes"
    elif mode != MODE:
        how = "is no plain file"
    elif offset != ENTRY.unpack_from(wanted)[-1]:
        how = "does not begin where the file before it ends"
    else:
        how = "has other flags, another time, an extra field or a comment"
    return f"{names[number]!r} {how}"

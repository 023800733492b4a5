"""Packed results: one file ``<benchmark>.thalweg`` that holds what a benchmark's folder holds, and is read in place.

The file is a ZIP archive without compression, and equal results give equal bytes:

- the benchmark's files, sorted by name, one behind the other without a gap;
- ``SHA256SUMS``, which names every file with its digest, as ``sha256sum`` writes and checks it;
- the directory and the end record of ZIP, without comments, extra fields, times and ZIP64.

A reader accepts these bytes and refuses all others: archives of other programs, and archives with anything added,
compressed or hidden. The content of a file is checked against its digest each time it is read. So the digest of
everything behind the last result (``Archive.identity``) identifies all results.
"""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import operator
import os
import re
import stat
import struct
import time
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np

from thalweg import guard
from thalweg.guard import Refused
from thalweg.shown import brief
from thalweg.store.files import Files

SUFFIX = ".thalweg"
"""Of a packed file."""
SUMS = "SHA256SUMS"

MOST_FILES = 65_534
"""Files in a packed file, ``SHA256SUMS`` among them, at most: a ZIP archive counts them in 16 bits."""
MOST_BYTES = (1 << 32) - 2
"""Bytes of a packed file, at most: a ZIP archive counts them in 32 bits."""
MOST_DIRECTORY = 64 * guard.MB
"""Bytes of the directory, and of the digests, at most."""

_PART = guard.PART.pattern
NAMES = re.compile(rf"benchmark\.toml|timings/{_PART}\.parquet|trials/{_PART}(/{_PART}){{1,3}}")
"""What a benchmark's folder holds, and what may be packed."""

# APPNOTE.TXT 6.3.10 of ZIP, sections 4.3.7, 4.3.12 and 4.3.16
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_ENTRY = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_ENTRY_FIELDS = np.dtype(
    [(name, kind) for kind, names in (
        ("S4", ["signature"]),
        ("<u2", ["made", "needed", "flags", "method", "time", "date"]),
        ("<u4", ["crc", "packed", "size"]),
        ("<u2", ["name", "extra", "comment", "disk", "internal"]),
        ("<u4", ["mode", "offset"]),
    ) for name in names]
)  # fmt: skip
"""The fields of ``_ENTRY``."""
_VERSION, _UNIX = 20, 3 << 8
_FIRST_OF_1980 = 1 << 5 | 1
_MODE = (stat.S_IFREG | 0o644) << 16

RACY = 2_000_000_000
"""A file that changed so few nanoseconds ago may change again without a later time."""


def local_header(name: bytes, size: int, crc: int) -> bytes:
    """What stands before a file's content."""
    return _LOCAL.pack(b"PK\3\4", _VERSION, 0, 0, 0, _FIRST_OF_1980, crc, size, size, len(name), 0) + name


def directory_entry(name: bytes, size: int, crc: int, offset: int) -> bytes:
    """A file's entry in the directory; ``offset`` is where its local header begins."""
    made = _UNIX | _VERSION
    head = b"PK\1\2", made, _VERSION, 0, 0, 0, _FIRST_OF_1980, crc, size, size, len(name), 0, 0, 0, 0, _MODE, offset
    return _ENTRY.pack(*head) + name


def end_record(files: int, directory: int, offset: int) -> bytes:
    """The last bytes of a packed file: how many files, and the directory's size and place."""
    return _END.pack(b"PK\5\6", 0, 0, files, files, directory, offset, 0)


@dataclass(frozen=True)
class Archive:
    """The directory of a packed file, checked."""

    path: Path
    identity: bytes
    """SHA-256 of everything behind the last result: the digests and the directory."""
    names: list[str]
    """Of the results' files, sorted."""
    offsets: list[int]
    """Where the local header of each file begins."""
    sizes: list[int]
    crcs: list[int]
    sums: list[str]
    """Each file's line in ``SHA256SUMS``."""
    folders: dict[str, list[str]] = field(default_factory=dict)
    """Names in the folders that were asked for."""

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Where in these lists a file is, by its name."""
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
            Refused: it is larger than ``limit``, or its bytes are others than its digest says.
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


@dataclass(frozen=True)
class PackedFiles(Files):
    """The files of a packed file, or of a folder in it."""

    packed: Path
    """The packed file."""
    folder: str = ""
    """Empty for all of it, else the folder's name."""

    @property
    def path(self) -> Path:  # type: ignore[override]
        """The packed file, with the folder's name behind it."""
        return self.packed / self.folder

    @property
    def archive(self) -> Archive:
        """The packed file's directory.

        Raises:
            OSError: the file is no packed file, or cannot be read.
        """
        return open_packed(self.packed)

    @property
    def refusal(self) -> str:
        """Why the packed file is not read."""
        try:
            archive = self.archive
        except OSError as error:
            return error.strerror or str(error)
        return "" if not self.folder or archive.inside(self.folder) else f"is not in {self.packed.name}"

    def names(self, folder: str) -> list[str]:
        """What the directory lists below the folder; nothing where the packed file is refused."""
        place = self._full(folder)
        try:
            archive = self.archive
        except OSError:
            return []
        if place not in archive.folders:
            begin = len(place) + 1
            archive.folders[place] = sorted({name[begin:].split("/", 1)[0] for name in archive.inside(place)})
        return list(archive.folders[place])

    def walk(self) -> Iterator[tuple[str, bool]]:
        """Every file: a packed file holds regular ones alone."""
        archive = self.archive
        begin = len(self.folder) + 1 if self.folder else 0
        names = archive.inside(self.folder) if self.folder else archive.names
        return ((name[begin:], True) for name in names)

    def check(self, name: str) -> None:
        """The packed file has the file, and it is no larger than its kind may be."""
        guard.check_size(self.archive.size(self._full(name)), name, self.path / name)

    def has(self, name: str) -> bool:
        """Whether the directory lists it."""
        try:
            return self._full(name) in self.archive.numbers
        except OSError:
            return False

    def open(self, name: str, limit: int) -> BinaryIO:
        """The content, in memory."""
        return io.BytesIO(self.read(name, limit))

    def read(self, name: str, limit: int) -> bytes:
        """See ``Archive.read``."""
        return self.archive.read(self._full(name), limit)

    def stamp(self, name: str) -> int:
        """A part of the identity of the packed file, which changes when any file in it does."""
        return stamps(self.archive)[0]

    def within(self, folder: str) -> PackedFiles:
        """The folder of that name."""
        return PackedFiles(self.packed, self._full(folder))

    def _full(self, name: str) -> str:
        return f"{self.folder}/{name}" if self.folder else name


def stamps(archive: Archive) -> tuple[int, ...]:
    """The identity as four negative numbers of 63 bits: no time or size of a file is negative."""
    numbers = struct.unpack("<4Q", archive.identity)
    return tuple(-1 - (number >> 1) for number in numbers)


_opened: dict[Path, tuple[tuple[int, ...], Archive]] = {}
"""Directories that were read, with the state of their files."""
_KEPT = 16


def open_packed(path: Path) -> Archive:
    """The directory of a packed file; read again when the file has changed.

    Raises:
        Refused: it is no packed file of this format, with the reason.
        OSError: it cannot be read.
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

    end = part(max(size - _END.size, 0), _END.size)
    if len(end) < _END.size or end[:4] != b"PK\5\6":
        raise Refused("is no packed file: it does not end with the end record of a ZIP archive", path)
    *_, files, _, directory_size, directory_offset, _ = _END.unpack(end)
    if end != end_record(files, directory_size, directory_offset) or not 0 < files <= MOST_FILES:
        raise Refused("is no packed file: its end record has a comment, ZIP64 or several disks", path)
    if directory_offset + directory_size + _END.size != size:
        raise Refused("is no packed file: its directory does not end where its end record begins", path)
    last = directory_entry(SUMS.encode(), 0, 0, 0)
    if directory_size > MOST_DIRECTORY or directory_size < len(last):
        raise Refused(f"has a directory of {directory_size:,} bytes, and {MOST_DIRECTORY:,} at most are read", path)
    directory = part(directory_offset, directory_size)
    crc, _, length, *_, offset = _ENTRY.unpack_from(directory, directory_size - len(last))[7:]
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
    """The names in ``SHA256SUMS``, and its lines; Refused where a name is none of results, or may be another's."""
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
    # without capitals only a file and a folder may have one name
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
    places = np.cumsum(_ENTRY.size + lengths) - lengths - _ENTRY.size
    if len(directory) != len(names) * _ENTRY.size + lengths.sum():
        raise Refused(f"is no packed file: its directory names other files than {SUMS}, or says more of them", path)
    # CRC-32 and sizes are a file's own, and everything else in its entry follows
    own = places[:, None] + np.arange(16, 28)
    free = np.frombuffer(directory, np.uint8)[own].reshape(-1).view("<u4").reshape(-1, 3)
    sizes = free[:, 2].astype(np.int64)
    offsets = np.cumsum(_LOCAL.size + lengths + sizes) - (_LOCAL.size + lengths + sizes)
    wanted = np.empty(len(names), _ENTRY_FIELDS)
    wanted[:] = np.frombuffer(directory_entry(b"", 0, 0, 0), _ENTRY_FIELDS)
    wanted["crc"], wanted["packed"], wanted["size"] = free[:, 0], sizes, sizes
    wanted["name"], wanted["offset"] = lengths, offsets
    heads = wanted.tobytes()
    entries = [
        heads[place : place + _ENTRY.size] + name.encode()
        for place, name in zip(range(0, len(heads), _ENTRY.size), names, strict=True)
    ]
    if b"".join(entries) != directory:
        raise Refused(f"is no packed file: {_first_fault(directory, entries, names)}", path)
    if int((_LOCAL.size + lengths + sizes).sum()) != end:
        raise Refused(f"is no packed file: {SUMS} does not begin where the last result ends", path)
    return offsets.tolist(), sizes.tolist(), free[:, 0].tolist()


def _first_fault(directory: bytes, entries: list[bytes], names: list[str]) -> str:
    """What is wrong with the first entry of a directory that is not the wanted one."""
    places = itertools.accumulate(map(len, entries), initial=0)
    number, place = next(
        (number, place)
        for number, (place, wanted) in enumerate(zip(places, entries, strict=False))
        if directory[place : place + len(wanted)] != wanted
    )
    wanted = entries[number]
    found = directory[place : place + len(wanted)]
    if found[_ENTRY.size :] != wanted[_ENTRY.size :]:
        return f"the directory names other files than {SUMS}"
    _, _, _, flags, method, *_, packed, size, _, _, _, _, _, mode, offset = _ENTRY.unpack_from(found)
    if flags & 1:
        how = "is encrypted"
    elif method:
        how = "is compressed"
    elif packed != size:
        how = "has two sizes"
    elif mode != _MODE:
        how = "is no plain file"
    elif offset != _ENTRY.unpack_from(wanted)[-1]:
        how = "does not begin where the file before it ends"
    else:
        how = "has other flags, another time, an extra field or a comment"
    return f"{names[number]!r} {how}"


def is_packed(path: Path) -> bool:
    """Whether a path has the name of a packed file and leads to a file."""
    return path.suffix == SUFFIX and path.is_file()

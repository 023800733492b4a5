"""Packed results: one file ``<benchmark>.thalweg`` that holds what a benchmark's folder holds, and is read in place.

The file is a ZIP archive without compression, and equal results give equal bytes:

- the benchmark's files, sorted by name, one behind the other without a gap;
- ``SHA256SUMS``, which names every file with its digest, as ``sha256sum`` writes and checks it;
- the directory and the end record of ZIP, without comments, extra fields, times and ZIP64.

A reader accepts these bytes and no others: whatever another program may add, compress or hide in a ZIP archive makes
the file one of somebody else's, which is refused. Contents are checked against their digests each time they are read,
so the digest of everything behind the last result (``Archive.identity``) tells what all results are.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import struct
import time
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from thalweg import guard
from thalweg.guard import Refused
from thalweg.store.files import Files

SUFFIX = ".thalweg"
"""Of a packed file."""
SUMS = "SHA256SUMS"

MOST_FILES = 65_534
"""Files in a packed file, ``SHA256SUMS`` among them, at most: a ZIP archive counts them in 16 bits."""
MOST_BYTES = (1 << 32) - 2
"""Bytes of a packed file, at most: a ZIP archive counts them in 32 bits."""
_DIRECTORY = 128 * guard.MB
"""Bytes of the directory, and of the digests, at most."""

_PART = guard.PART.pattern
NAMES = re.compile(rf"benchmark\.toml|timings/{_PART}\.parquet|trials/{_PART}(/{_PART}){{1,3}}")
"""What a benchmark's folder holds, and what may be packed."""

# APPNOTE.TXT 6.3.10 of ZIP, sections 4.3.7, 4.3.12 and 4.3.16
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_ENTRY = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
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
class Member:
    """A file in a packed file."""

    offset: int
    """Of its local header."""
    size: int
    crc: int
    digest: str


@dataclass(frozen=True)
class Archive:
    """The directory of a packed file, checked."""

    path: Path
    identity: bytes
    """SHA-256 of everything behind the last result: the digests and the directory."""
    members: dict[str, Member]
    """By name, sorted."""
    ordered: list[str]
    """The names."""
    folders: dict[str, list[str]] = field(default_factory=dict)
    """Names in the folders that were asked for."""

    def inside(self, folder: str) -> list[str]:
        """The names of all files below a folder, sorted."""
        begin = bisect_left(self.ordered, f"{folder}/")
        return self.ordered[begin : bisect_left(self.ordered, f"{folder}0", begin)]  # 0 follows / in ASCII

    def read(self, name: str, limit: int) -> bytes:
        """A file's content, checked against its digest.

        Raises:
            FileNotFoundError: the packed file has no such file.
            Refused: it is larger than ``limit``, or its bytes are others than its digest says.
            OSError: the packed file cannot be read.
        """
        member = self.members.get(name)
        place = self.path / name
        if member is None:
            raise FileNotFoundError(2, os.strerror(2), str(place))
        if member.size > limit:
            raise Refused(f"has {member.size:,} bytes, more than the {limit:,} that are read", place)
        header = local_header(name.encode(), member.size, member.crc)
        with guard.open_regular(self.path, MOST_BYTES) as file:
            file.seek(member.offset)
            if file.read(len(header)) != header:
                raise Refused("has another header than the directory of its packed file says", place)
            content = file.read(member.size)
        if zlib.crc32(content) != member.crc or hashlib.sha256(content).hexdigest() != member.digest:
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
        names = archive.inside(self.folder) if self.folder else archive.ordered
        return ((name[begin:], True) for name in names)

    def check(self, name: str) -> None:
        """The packed file has the file, and it is no larger than its kind may be."""
        member = self.archive.members.get(self._full(name))
        if member is None:
            raise FileNotFoundError(2, os.strerror(2), str(self.path / name))
        guard.check_size(member.size, name, self.path / name)

    def has(self, name: str) -> bool:
        """Whether the directory lists it."""
        try:
            return self._full(name) in self.archive.members
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

    A directory entry and a local header are compared with the bytes that ``pack`` writes, so flags, compression, extra
    fields, comments, links, times and sizes that differ are all refused by one comparison.
    """

    def part(offset: int, length: int) -> bytes:
        file.seek(offset)
        return file.read(length)

    end = part(max(size - _END.size, 0), _END.size)
    if len(end) < _END.size or end[:4] != b"PK\5\6":
        raise Refused("is no packed results: a ZIP archive ends with its end record, and nothing behind it", path)
    *_, files, _, directory_size, directory_offset, _ = _END.unpack(end)
    if directory_offset + directory_size + _END.size != size:
        raise Refused("is no packed results: its directory does not end where its end record begins", path)
    if end != end_record(files, directory_size, directory_offset) or not 0 < files <= MOST_FILES:
        raise Refused("is no packed results: its end record has a comment, ZIP64 or several disks", path)
    if directory_size > _DIRECTORY:
        raise Refused(f"has a directory of {directory_size:,} bytes, more than the {_DIRECTORY:,} that are read", path)
    directory = part(directory_offset, directory_size)
    found = _entries(path, directory, files, directory_offset)
    sums_name, sums_offset, sums_size, sums_crc = found.pop()
    if sums_name != SUMS:
        raise Refused(f"is no packed results: its last file is not {SUMS}", path)
    if sums_size > _DIRECTORY:
        raise Refused(f"has {sums_size:,} bytes of digests, more than the {_DIRECTORY:,} that are read", path)
    behind = part(sums_offset, size - sums_offset)
    header = local_header(SUMS.encode(), sums_size, sums_crc)
    if not behind.startswith(header):
        raise Refused(f"is no packed results: {SUMS} has another header than the directory says", path)
    if behind[len(header) + sums_size :] != directory + end:
        raise Refused("has changed while it was read", path)
    digests = _digests(path, behind[len(header) : len(header) + sums_size], [name for name, *_ in found])
    members = {
        name: Member(offset, length, crc, digest)
        for (name, offset, length, crc), digest in zip(found, digests, strict=True)
    }
    return Archive(path, hashlib.sha256(behind).digest(), members, list(members))


def _entries(path: Path, directory: bytes, files: int, end: int) -> list[tuple[str, int, int, int]]:
    """Name, offset, size and CRC-32 of each file; Refused where the directory is not one that ``pack`` writes."""
    found: list[tuple[str, int, int, int]] = []
    place = offset = 0
    before = ""
    names = _Names(path)
    for number in range(files):
        if place + _ENTRY.size > len(directory):
            raise Refused("is no packed results: its directory ends too early", path)
        fields = _ENTRY.unpack_from(directory, place)
        crc, size, length = fields[7], fields[9], fields[10]
        raw = directory[place + _ENTRY.size : place + _ENTRY.size + length]
        last = number == files - 1
        name = raw.decode("ascii", errors="replace")
        if not (NAMES.fullmatch(name) or (last and name == SUMS)):
            raise Refused(f"holds {name[:200]!r}, which is no file of a benchmark's results", path)
        entry = directory_entry(raw, size, crc, offset)
        if directory[place : place + len(entry)] != entry:
            raise Refused(f"holds {name!r} in another way than it was packed: {_how(fields, offset)}", path)
        if not last and name <= before:
            raise Refused(f"holds {name!r} twice, or not in the order of names", path)
        names.add(name)
        found.append((name, offset, size, crc))
        before = name
        place += len(entry)
        offset += _LOCAL.size + length + size
    if place != len(directory):
        raise Refused("is no packed results: its directory has more than its files", path)
    if offset != end:
        raise Refused("is no packed results: between its files and its directory lies something else", path)
    return found


class _Names:
    """The names of files and folders that were seen, for file systems that ignore case."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: set[str] = set()
        self._folders = {"": ""}
        """By the name in lower case."""
        self._last = ""

    def add(self, name: str) -> None:
        """Refused where the file, or a folder that it is in, is another one to such a file system."""
        folder, lower = name.rpartition("/")[0], name.lower()
        if lower in self._files or lower in self._folders:
            raise Refused(f"holds several things that have the name {name!r} where case is ignored", self._path)
        self._files.add(lower)
        while folder != self._last and folder:
            if folder.lower() in self._files or self._folders.setdefault(folder.lower(), folder) != folder:
                raise Refused(f"holds several things that have the name {folder!r} where case is ignored", self._path)
            folder = folder.rpartition("/")[0]
        self._last = name.rpartition("/")[0]


def _how(fields: tuple[int, ...], offset: int) -> str:
    """What is wrong with a directory entry, in some words."""
    if fields[3] & 1:
        return "it is encrypted"
    if fields[4]:
        return "it is compressed"
    if fields[8] != fields[9]:
        return "its two sizes differ"
    if fields[15] != _MODE:
        return "it is no plain file"
    if fields[16] != offset:
        return "it does not begin where the file before it ends"
    return "its flags, time, extra fields or comment are others"


def _digests(path: Path, content: bytes, names: list[str]) -> list[str]:
    """The digest of each file; Refused where ``SHA256SUMS`` does not name every file once, in order."""
    lines = content.decode("ascii", errors="replace").split("\n")
    if lines.pop() != "" or [line[66:] for line in lines] != names:
        raise Refused(f"is no packed results: {SUMS} names other files than the directory", path)
    digests = [line[:64] for line in lines]
    if not all(map(_SUM.fullmatch, (line[:66] for line in lines))):
        raise Refused(f"is no packed results: {SUMS} holds something else than digests", path)
    return digests


_SUM = re.compile(r"[0-9a-f]{64}  ")


def is_packed(path: Path) -> bool:
    """Whether a path has the name of a packed file and leads to a file."""
    return path.suffix == SUFFIX and path.is_file()

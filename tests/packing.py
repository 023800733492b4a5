"""Packed files with faults that a test chooses."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from thalweg.store.packed_format import SUMS, directory_entry, end_record, local_header


@dataclass
class Entry:
    """A file in a packed file, with its description in the local header, the directory and the digests."""

    name: bytes
    content: bytes
    digest: str = ""
    local: Callable[[bytes], bytes] = lambda header: header
    """Changes the local header."""
    central: Callable[[bytes], bytes] = lambda entry: entry
    """Changes the directory's entry."""
    offset: int | None = None
    """The offset in the directory; None means the true offset."""
    listed: bool = True
    """Whether ``SHA256SUMS`` names the file."""


@dataclass
class Pack:
    """The parts of a packed file, which ``bytes`` joins."""

    entries: list[Entry]
    sums: Callable[[bytes], bytes] = lambda text: text
    end: Callable[[bytes], bytes] = lambda record: record
    before: bytes = b""
    behind: bytes = b""
    last: list[Entry] = field(default_factory=list)
    """Entries behind the digests."""

    def __bytes__(self) -> bytes:
        text = b"".join(
            (entry.digest or hashlib.sha256(entry.content).hexdigest()).encode() + b"  " + entry.name + b"\n"
            for entry in self.entries
            if entry.listed
        )
        made, directory = bytearray(self.before), bytearray()
        entries = [*self.entries, Entry(SUMS.encode(), self.sums(text)), *self.last]
        for entry in entries:
            size, crc = len(entry.content), zlib.crc32(entry.content)
            offset = len(made) if entry.offset is None else entry.offset
            directory += entry.central(directory_entry(entry.name, size, crc, offset))
            made += entry.local(local_header(entry.name, size, crc)) + entry.content
        record = end_record(len(entries), len(directory), len(made))
        return bytes(made + directory) + self.end(record) + self.behind


def pack_of(folder: Path) -> Pack:
    """The files of a benchmark's folder, sorted: ``bytes`` of it is what ``thalweg results pack`` writes."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and not path.relative_to(folder).parts[0].startswith(".")
    )
    return Pack([Entry(name.encode(), (folder / name).read_bytes()) for name in names])

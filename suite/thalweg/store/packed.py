"""The files of packed results, behind the interface that a folder has too."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from thalweg import guard
from thalweg.store.archive import Archive, open_packed
from thalweg.store.files import Files


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
        """The names below the folder in the directory; none where the packed file is refused."""
        place = self._full(folder)
        try:
            archive = self.archive
        except OSError:
            return []
        if place not in archive.folders:
            begin = len(place) + 1 if place else 0
            inside = archive.inside(place) if place else archive.names
            archive.folders[place] = sorted({name[begin:].split("/", 1)[0] for name in inside})
        return list(archive.folders[place])

    def walk(self) -> Iterator[tuple[str, bool]]:
        """Every file: a packed file holds regular ones alone."""
        archive = self.archive
        begin = len(self.folder) + 1 if self.folder else 0
        names = archive.inside(self.folder) if self.folder else archive.names
        return ((name[begin:], True) for name in names)

    def check(self, name: str) -> None:
        """Check that the packed file has the file, and that the file is not larger than its kind may be."""
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

"""The files of results, wherever they lie: one small interface for a folder and for a packed file."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from thalweg import guard


class Files(ABC):
    """The files of a benchmark's results, or of one folder in them. Names are paths with ``/`` in between.

    A reader asks for a file by its name and gets its bytes. Every error is an ``OSError`` whose ``strerror`` is the
    reason; a name that nothing has raises ``FileNotFoundError``.
    """

    path: Path
    """Where the files lie, for messages."""

    @property
    @abstractmethod
    def refusal(self) -> str:
        """Why none of the files is read; empty where they are."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted; none where the folder is missing, is a link, or may not be read."""

    @abstractmethod
    def walk(self) -> Iterator[tuple[str, bool]]:
        """Every file below, sorted by name, and whether it is a regular file. Links are not followed.

        Raises:
            OSError: a folder cannot be read, or holds too many files.
        """

    @abstractmethod
    def check(self, name: str) -> None:
        """Refuse a trial's file that is not regular, lies behind a link, or is larger than its kind may be.

        Raises:
            Refused: the file is refused, with the reason.
            FileNotFoundError: the file is missing.
        """

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether a regular file has the name."""

    @abstractmethod
    def open(self, name: str, limit: int) -> BinaryIO:
        """A regular file of at most ``limit`` bytes, open for reading."""

    @abstractmethod
    def read(self, name: str, limit: int) -> bytes:
        """The content of a regular file of at most ``limit`` bytes."""

    @abstractmethod
    def stamp(self, name: str) -> int:
        """A number that changes when the file does."""

    @abstractmethod
    def within(self, folder: str) -> Files:
        """The files of a folder."""


@dataclass(frozen=True)
class FolderFiles(Files):
    """The files of a folder on disk."""

    path: Path

    @property
    def refusal(self) -> str:
        """Why the folder is not entered."""
        return "" if guard.is_folder(self.path) else guard.kind_at(self.path)

    def names(self, folder: str) -> list[str]:
        """The names in the folder."""
        place = self.path / folder
        try:
            # a path object for each of thousands of trials would take most of the time
            return sorted(os.listdir(place)) if guard.is_folder(place) else []  # noqa: PTH208
        except (FileNotFoundError, PermissionError):
            return []  # gone, or closed: a refusal says so

    def walk(self) -> Iterator[tuple[str, bool]]:
        """See ``guard.files_in``."""
        return guard.files_in(self.path)

    def check(self, name: str) -> None:
        """See ``guard.check_inside``."""
        guard.check_inside(self.path, name)

    def has(self, name: str) -> bool:
        """See ``guard.is_regular``."""
        return guard.is_regular(self.path / name)

    def open(self, name: str, limit: int) -> BinaryIO:
        """See ``guard.open_regular``."""
        return guard.open_regular(self.path / name, limit)

    def read(self, name: str, limit: int) -> bytes:
        """See ``guard.read_bytes``."""
        return guard.read_bytes(self.path / name, limit)

    def stamp(self, name: str) -> int:
        """The time of the last change, in nanoseconds."""
        return (self.path / name).lstat().st_mtime_ns

    def within(self, folder: str) -> FolderFiles:
        """The folder of that name."""
        return FolderFiles(self.path / folder)


def open_checked(files: Files, name: str) -> BinaryIO:
    """A trial's file, checked and open for reading.

    Raises:
        OSError: the file cannot be read, or ``Files.check`` refuses it.
    """
    files.check(name)
    return files.open(name, guard.limit_of(name))


def digest_of(files: Files, name: str) -> str:
    """SHA-256 of a trial's file, which is no larger than its kind may be."""
    with open_checked(files, name) as file:
        digest = hashlib.sha256()
        while block := file.read(guard.MB):
            digest.update(block)
        return digest.hexdigest()


def copy(files: Files, name: str, target: Path) -> str:
    """Copy a trial's file into another folder, under its name and with a mode of our own; gives its SHA-256.

    Raises:
        OSError: the file cannot be read or written, or ``Files.check`` refuses it.
    """
    place = target / name
    guard.room(place.parent)
    digest = hashlib.sha256()
    with open_checked(files, name) as old, guard.free(place).open("xb") as new:
        left = guard.limit_of(name)
        while block := old.read(min(guard.MB, left + 1)):
            left -= len(block)
            if left < 0:
                told = f"has more than the {guard.limit_of(name):,} bytes that are read"
                raise guard.Refused(told, files.path / name)
            digest.update(block)
            new.write(block)
    return digest.hexdigest()

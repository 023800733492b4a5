"""Makes a benchmark's folder of a packed file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from thalweg import guard
from thalweg.store.archive import open_packed


@dataclass
class Unpacked:
    """The outcome of unpacking a packed file."""

    path: Path
    """The benchmark's folder."""
    trials: int
    files: int


def unpack(packed: Path, folder: Path) -> Unpacked:
    """Write the files of a packed file into a new folder, in place of an older one, whole or not at all.

    Each file is checked against its digest before it is written.

    Raises:
        OSError: the packed file is refused, or the folder cannot be written.
    """
    archive = open_packed(packed)
    work = guard.free(guard.room(folder.parent) / f".unpacking-{folder.name}-{os.getpid()}")
    work.mkdir()
    made, older = work / "new", work / "old"
    made.mkdir()
    room = ""
    try:
        for name in archive.names:
            parent = name.rpartition("/")[0]
            if parent != room:
                (made / parent).mkdir(parents=True, exist_ok=True)
                room = parent
            content = archive.read(name, _limit_of(name))
            with (made / name).open("xb") as file:
                file.write(content)
        if os.path.lexists(folder):
            folder.rename(older)
        try:
            made.rename(folder)
        except BaseException:
            if os.path.lexists(older):
                older.rename(folder)
            raise
    finally:
        guard.remove_left(work)
    names = {name.split("/")[1] for name in archive.inside("trials")}
    return Unpacked(folder, len(names), len(archive.names))


def _limit_of(name: str) -> int:
    """Bytes of a file of results, at most."""
    if name == "benchmark.toml":
        return guard.TEXT
    first, _, rest = name.partition("/")
    return guard.limit_of(rest.partition("/")[2]) if first == "trials" else guard.TABLE

"""The results of one benchmark, read from its folder or from its packed file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from thalweg import guard
from thalweg.benchmark_file import NAME, NAMING
from thalweg.errors import UserError
from thalweg.store.files import Files, FolderFiles
from thalweg.store.packed import PackedFiles
from thalweg.store.packed_format import SUFFIX, is_packed
from thalweg.store.trials import StoredTrial, Unreadable, read_trial

WORKING = ".working"
"""Folder of the trials that processes train now, and of locks."""
PARTIAL = ".partial"
"""Folder of checkpoints and unfinished measurements."""


class BenchmarkResults:
    """Reads ``<root>/<benchmark>/``, or ``<root>/<benchmark>.thalweg``, or a root that is that packed file.

    Raises:
        UserError: the root has the folder and the packed file, so it is unclear which of the two counts.
    """

    def __init__(self, root: Path, benchmark: str) -> None:
        places = places_of(root, benchmark)
        if len(places) > 1:
            raise UserError(f"{root}: holds {both(places)}")
        self.name = benchmark
        self.path = places[0] if places else root / benchmark
        self.packed = _is_packed_place(self.path)
        self.files: Files = PackedFiles(self.path) if self.packed else FolderFiles(self.path)
        self.trials = self.path / "trials"

    def trial(self, name: str) -> StoredTrial | Unreadable:
        """The trial in the folder of that name, or why it cannot be read."""
        return read_trial(self.files.within(f"trials/{name}"))

    def scan(self, begins: str = "") -> tuple[list[StoredTrial], list[Unreadable]]:
        """Every trial whose hash begins so, sorted by its folder's name, and what could not be read."""
        found: list[StoredTrial] = []
        unreadable: list[Unreadable] = []
        for name in self.files.names("trials"):
            if begins and not name.rpartition("--")[2].startswith(begins):
                continue
            trial = self.trial(name)
            if isinstance(trial, StoredTrial):
                found.append(trial)
            else:
                unreadable.append(trial)
        return found, unreadable

    def find(self, hash_: str) -> StoredTrial | None:
        """The trial of that hash, if it is there and can be read."""
        for name in self.names_of(hash_):
            trial = self.trial(name)
            if isinstance(trial, StoredTrial):
                return trial
        return None

    def names_of(self, hash_: str) -> list[str]:
        """The folders that have the name of that trial."""
        return [name for name in self.files.names("trials") if name.endswith(f"--{hash_}")]

    @property
    def refusal(self) -> str:
        """Why these results are not read; empty for results that are read, and for a benchmark without results."""
        return refusal_of(self.path, self.name) if os.path.lexists(self.path) else ""


def both(places: Sequence[Path]) -> str:
    """The message for a benchmark that has a folder and a packed file."""
    return f"{' and '.join(place.name for place in places)}, and only one of the two can count: move one away"


def places_of(root: Path, benchmark: str) -> list[Path]:
    """Where the results of a benchmark lie: its folder, its packed file, neither, or both."""
    if is_packed(root):
        # a root may be a link; what it leads to is opened by its own name
        return [Path(os.path.realpath(root))] if root.name == benchmark + SUFFIX else []
    folder, packed = root / benchmark, root / (benchmark + SUFFIX)
    found = [folder] if os.path.lexists(folder) else []
    if not os.path.lexists(packed) or guard.is_folder(packed):
        return found
    return [packed] if _is_left_behind(folder) else [*found, packed]


def _is_left_behind(folder: Path) -> bool:
    """Whether a folder holds no results. A checkout leaves such a folder where an older one kept an ignored file."""
    return guard.is_folder(folder) and not any(
        os.path.lexists(folder / name) for name in ("benchmark.toml", "trials", "timings", WORKING)
    )


def refusal_of(place: Path, benchmark: str) -> str:
    """Why the results of a benchmark are not read from an existing place; empty where they are read."""
    packed = _is_packed_place(place)
    if packed and (reason := PackedFiles(place).refusal):
        return reason
    if not packed and not guard.is_folder(place):
        way = ""
        if place.is_symlink():
            way = ", and no link is followed inside of results: only the results folder itself may be a link"
        elif guard.leads_to_file(place):
            way = f", and the name of a packed file ends with {SUFFIX}"
        return guard.kind_at(place) + way
    if not NAME.fullmatch(benchmark):
        return f"the name {NAMING}"
    parts = () if packed else ("trials", WORKING)
    if not packed and (reason := guard.closed(place)):
        return reason
    for part in parts:
        if os.path.lexists(place / part):
            # the folder of what is at work may be another user's
            unread = guard.closed(place / part) if part == "trials" else ""
            if reason := unread if guard.is_folder(place / part) else guard.kind_at(place / part):
                return f"{part} {reason}"
    return ""


def _is_packed_place(place: Path) -> bool:
    return place.suffix == SUFFIX and not guard.is_folder(place)

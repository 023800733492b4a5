"""Measurements of claims on disk: ``<results>/claims/<id>/<tier>--<hash12>/{claim.json, measurements.parquet}``.

A claim's folder is made elsewhere and renamed into place, so it is whole or not there. ``claim.json`` has the
identity of the measurements: everything that changes the numbers, versions included. Its hash names the folder, so that
measurements of another version are another folder. The trials of claims lie in ``<results>/claims/trained/``, as those
of any benchmark do.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import filelock
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thalweg import guard
from thalweg.benchmark_file import NAME
from thalweg.contracts.claim import COLUMNS, ID, RESERVED_IDS
from thalweg.errors import UserError
from thalweg.failure import Failure
from thalweg.store.documents import finite
from thalweg.store.files import Files, FolderFiles, digest_of
from thalweg.store.packed import PackedFiles
from thalweg.store.packed_format import SUFFIX, is_packed
from thalweg.store.tables import read_table, write_table
from thalweg.store.trials import Unreadable

CLAIMS = "claims"
"""The folder of claims in a results folder; no benchmark may have the name."""
TRAINED = "trained"
"""The results of the trials that claims need, in ``CLAIMS``; ``RESERVED_IDS`` has the name."""
DOCUMENT = "claim.json"
TABLE = "measurements.parquet"
_WORKING = ".working"


class SeedDocument(BaseModel):
    """How a seed was measured."""

    model_config = ConfigDict(extra="ignore")

    seconds: Annotated[float, Field(ge=0, lt=1e12)] = 0.0
    """The time that measuring took, without the training of trials."""
    trials: list[str] = []
    """The hashes of the trials that the seed's measurements were read from."""
    error: Failure | None = None
    """Why the seed has no measurements."""


class ClaimDocument(BaseModel):
    """The content of ``claim.json``. Keys may be added within a schema version, so unknown ones are ignored."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    id: Annotated[str, Field(pattern=f"^{ID.pattern}$")]
    tier: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    identity: dict[str, Any]
    """What names the measurements: the claim with its revision, its experiments, versions, the kind of device."""
    statement: str = ""
    measured: dict[Annotated[str, Field(pattern="^[0-9]{1,9}$")], SeedDocument] = {}
    """By seed."""
    training_seconds: Annotated[float, Field(ge=0, lt=1e12)] = 0.0
    """The time that all trials behind the measurements took to train; claims may share trials."""
    environment: dict[str, Any] = {}
    """Where the latest seed was measured."""
    files: dict[str, str] = {}
    """SHA-256 of the table."""

    @property
    def hash(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the identity's canonical JSON."""
        return identity_hash(self.identity)

    @property
    def folder(self) -> str:
        """The name of the folder below the claim's own."""
        return f"{self.tier}--{self.hash}"

    @property
    def seconds(self) -> float:
        """The cost of the measurements: the time of measuring and the time of training."""
        return self.training_seconds + sum(seed.seconds for seed in self.measured.values())

    def to_json(self) -> str:
        """Indented JSON."""
        return json.dumps(finite(self.model_dump(mode="json", by_alias=True)), indent=1, allow_nan=False)


def identity_hash(identity: Mapping[str, Any]) -> str:
    """See ``ClaimDocument.hash``."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class StoredClaim:
    """The measurements of a claim on one tier."""

    files: Files
    document: ClaimDocument

    @property
    def fault(self) -> str:
        """Why the measurements are not whole; empty where they are."""
        try:
            self.table()
        except (OSError, ValueError) as error:
            return error.strerror or str(error) if isinstance(error, OSError) else str(error)
        return ""

    def table(self) -> pd.DataFrame:
        """The measurements of all seeds, with ``contracts.claim.COLUMNS``.

        Raises:
            OSError: the table cannot be read, or has changed since it was written.
            ValueError: it is no table of measurements.
        """
        if digest_of(self.files, TABLE) != self.document.files.get(TABLE):
            raise guard.Refused("has changed since it was written", self.files.path / TABLE)
        table = read_table(self.files, TABLE)
        missing = [name for name in COLUMNS if name not in table]
        if missing:
            raise ValueError(f"{TABLE} has no column {missing[0]!r}")
        table = table[list(COLUMNS)]
        for name in ("seed", "x", "value"):
            if table[name].dtype.kind not in "if":
                raise ValueError(f"{TABLE}: column {name!r} has values that are no numbers")
        if not (table["seed"] % 1 == 0).all():
            raise ValueError(f"{TABLE}: column 'seed' has values that are no whole numbers")
        kinds = {"seed": "int64", "x": "float64", "value": "float64", **dict.fromkeys(_TEXTS, "str")}
        for name in _TEXTS:
            if not all(isinstance(value, str) for value in table[name].unique()):
                raise ValueError(f"{TABLE}: column {name!r} has values that are no texts")
        kept = [int(seed) for seed, one in self.document.measured.items() if one.error is None]
        return table[table["seed"].isin(kept)].astype(kinds).reset_index(drop=True)


_TEXTS = ("setting", "quantity", "series", "note")


class ClaimResults:
    """Reads ``<root>/claims/``, or ``<root>/claims.thalweg``, or a root that is that packed file.

    Raises:
        UserError: the root has measurements in the folder and in the packed file.
    """

    def __init__(self, root: Path) -> None:
        folder, packed = root / CLAIMS, root / (CLAIMS + SUFFIX)
        if is_packed(root):
            packed = Path(os.path.realpath(root)) if root.name == CLAIMS + SUFFIX else packed
        self.root = root
        self.packed = is_packed(packed)
        if self.packed and not is_packed(root) and _claims_in(FolderFiles(folder)):
            raise UserError(f"{root}: holds {folder.name} and {packed.name}, and only one of the two can count")
        self.files: Files = PackedFiles(packed) if self.packed else FolderFiles(folder)

    @property
    def path(self) -> Path:
        """The folder or the packed file."""
        return self.files.path

    @property
    def refusal(self) -> str:
        """Why nothing is read; empty where there is nothing, or where it is read."""
        if is_packed(self.root) and not self.packed:
            return f"{self.root}: holds no claims: packed claims are called {CLAIMS + SUFFIX}"
        if self.packed and (reason := self.files.refusal):
            return f"{self.path} cannot be read: {reason}"
        if self.packed and not self.ids:
            return f"{self.path}: holds no measurements of claims"
        if os.path.lexists(self.path) and not self.packed and not guard.is_folder(self.path):
            return f"{self.path} {guard.kind_at(self.path)}"
        if not self.packed and (reason := guard.closed(self.path)):
            return f"{self.path} {reason}"
        # os.path, since a path's own method raises where the root may not be looked at
        if os.path.lexists(self.root) and not os.path.isdir(self.root) and not self.packed:  # noqa: PTH112
            return f"{self.root}: is no results folder"
        return ""

    @property
    def ids(self) -> list[str]:
        """The claims that have a folder."""
        return _claims_in(self.files)

    def of(self, id_: str) -> tuple[list[StoredClaim], list[Unreadable]]:
        """All measurements of a claim, and what cannot be read."""
        found: list[StoredClaim] = []
        unreadable: list[Unreadable] = []
        if not self.packed and (reason := guard.closed(self.path / id_)):
            unreadable.append(Unreadable(self.path / id_, reason))
        for name in self.files.names(id_):
            one = _read(self.files.within(f"{id_}/{name}"), id_)
            if isinstance(one, StoredClaim):
                found.append(one)
            else:
                unreadable.append(one)
        return found, unreadable


def _claims_in(files: Files) -> list[str]:
    found = [name for name in files.names("") if ID.fullmatch(name) and name not in RESERVED_IDS]
    return [name for name in found if any("--" in folder for folder in files.names(name))]


def _read(files: Files, id_: str) -> StoredClaim | Unreadable:
    try:
        if refusal := files.refusal:
            return Unreadable(files.path, refusal)
        document = ClaimDocument.model_validate_json(files.read(DOCUMENT, guard.DOCUMENT))
        files.check(TABLE)
    except OSError as error:
        return Unreadable(files.path, f"{DOCUMENT}: {error.strerror or error}")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        return Unreadable(files.path, f"{DOCUMENT}: {key + ': ' if key else ''}{first['msg']}")
    except RecursionError:
        return Unreadable(files.path, f"{DOCUMENT}: is too deep")
    if document.id != id_ or document.folder != files.path.name:
        return Unreadable(files.path, f"{DOCUMENT}: belongs into {document.id}/{document.folder}")
    return StoredClaim(files, document)


class ClaimsFolder(ClaimResults):
    """Writes measurements, each claim's folder whole or not at all.

    Raises:
        UserError: the results are packed.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        if self.packed or is_packed(root):
            packed = self.path if self.packed else root
            raise UserError(f"{packed}: packed results are only read: 'thalweg results unpack {packed}' makes a folder")
        if self.refusal:
            raise UserError(self.refusal)

    def hold(self, document: ClaimDocument) -> filelock.BaseFileLock:
        """A lock: no other process measures the claim meanwhile."""
        guard.room(self.path)
        return filelock.FileLock(guard.room(self.path / _WORKING) / f"{document.id}--{document.folder}.lock")

    def write(self, document: ClaimDocument, table: pd.DataFrame) -> None:
        """Put the measurements in place of the older ones; the caller holds the claim."""
        made = guard.free(self.path / _WORKING / f"{document.id}--{document.folder}")
        made.mkdir()
        write_table(table[list(COLUMNS)].reset_index(drop=True), made / TABLE)
        document = document.model_copy(update={"files": {TABLE: digest_of(FolderFiles(made), TABLE)}})
        (made / DOCUMENT).write_text(document.to_json(), encoding="utf-8")
        place = guard.room(self.path / document.id) / document.folder
        away = self._away(document)
        if os.path.lexists(place):
            guard.free(away)
            place.rename(away)
        made.rename(place)
        with suppress(OSError):
            guard.free(away)

    def restore(self, document: ClaimDocument) -> None:
        """Put the older measurements back, where a kill fell between the two renames; the caller holds the claim."""
        away, place = self._away(document), self.path / document.id / document.folder
        if guard.is_folder(away) and not os.path.lexists(place):
            away.rename(place)

    def _away(self, document: ClaimDocument) -> Path:
        return self.path / _WORKING / f"{document.id}--{document.folder}.old"

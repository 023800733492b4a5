"""A trial on disk: its document, and the files that the document lists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from thalweg import guard
from thalweg.shown import brief
from thalweg.store.curve import with_all_columns
from thalweg.store.documents import TrialDocument
from thalweg.store.files import Files
from thalweg.store.tables import read_table


@dataclass(frozen=True)
class StoredTrial:
    """A trial on disk."""

    files: Files
    document: TrialDocument

    @property
    def path(self) -> Path:
        """The trial's folder, which may be one in a packed file."""
        return self.files.path

    def curve(self) -> pd.DataFrame:
        """One row per evaluation, split and metric."""
        return with_all_columns(read_table(self.files, "curve.parquet"))

    def table(self, key: str) -> pd.DataFrame:
        """The table of a probe, by its key ``<probe>--<hash8>``."""
        return read_table(self.files, f"probes/{key}.parquet")


@dataclass(frozen=True)
class Unreadable:
    """Something among the results that cannot be read, and why."""

    path: Path
    reason: str

    @property
    def sentence(self) -> str:
        """The path, and why it cannot be read."""
        return f"{self.path} cannot be read: {self.reason}"


def read_trial(files: Files) -> StoredTrial | Unreadable:
    """The trial in a folder, or why the folder cannot be read as one."""
    document = read_document(files)
    if isinstance(document, Unreadable):
        return document
    path = files.path
    if document.hash != document.trial.hash:
        return Unreadable(path, "trial.json: the hash belongs to another trial")
    if path.name != document.folder:
        return Unreadable(path, f"trial.json: belongs into a folder {document.folder}")
    for name in document.files:
        try:
            files.check(name)
        except FileNotFoundError:
            return Unreadable(path, f"{name} is missing")
        except OSError as error:
            return Unreadable(path, f"{name} {error.strerror}")
    return StoredTrial(files, document)


def read_document(files: Files, name: str = "trial.json") -> TrialDocument | Unreadable:
    """The document in a trial's folder, or why it cannot be read; its digests are not checked."""
    path = files.path
    try:
        if refusal := files.refusal:
            return Unreadable(path, refusal)
        return TrialDocument.model_validate_json(files.read(name, guard.DOCUMENT))
    except guard.Refused as error:
        return Unreadable(path, f"{name} {error.reason}")
    except OSError as error:
        return Unreadable(path, f"{name}: {error.strerror or error}")
    except RecursionError:
        return Unreadable(path, f"{name}: is too deep")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        says = first["msg"].removeprefix("Value error, ")
        if first["type"] == "string_pattern_mismatch":  # a pattern is for machines
            says = f"{brief(first['input'])} is no name that is allowed here"
        return Unreadable(path, f"{name}: {key.removesuffix('.[key]') + ': ' if key else ''}{says}")

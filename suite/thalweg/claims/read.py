"""Reads what is kept of claims, and decides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import pandas as pd

from thalweg.claims.identity import differences, identity_of
from thalweg.contracts.claim import Claim, Decision, Part, Verdict
from thalweg.errors import UserError, unknown
from thalweg.failure import Failure
from thalweg.registry import Entry, Registry
from thalweg.selection import DEVICES
from thalweg.store.claims import ClaimResults, StoredClaim, identity_hash
from thalweg.store.trials import Unreadable


@dataclass
class ClaimRow:
    """A claim on one tier: what is kept, and what it decides."""

    entry: Entry
    tier: str
    stored: StoredClaim | None = None
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    decision: Decision | None = None
    failed: bool = False
    """Whether there are measurements that cannot be read or decided."""
    notes: tuple[str, ...] = ()
    """What a reader must know: other versions, damaged files, errors of the claim."""

    @property
    def claim(self) -> Claim:
        """The claim."""
        claim: Claim = self.entry.component
        return claim

    @property
    def verdict(self) -> str:
        """The verdict, or that the claim was not measured."""
        if self.decision is None:
            return "not decided" if self.failed else "not measured"
        return self.decision.verdict

    @property
    def seeds(self) -> int:
        """The number of seeds that were measured."""
        measured = self.stored.document.measured.values() if self.stored else ()
        return sum(one.error is None for one in measured)

    @property
    def seconds(self) -> float:
        """The cost of the measurements."""
        return self.stored.document.seconds if self.stored else 0.0


def order(id_: str) -> tuple[str, int, str]:
    """A key that sorts A2 before A10."""
    match = re.fullmatch(r"([A-Za-z]+)(\d+)(.*)", id_)
    return (match[1], int(match[2]), match[3]) if match else (id_, 0, "")


def entries_of(registry: Registry, asked: Sequence[str] = ()) -> list[Entry]:
    """The claims that were asked for, in order; all where nothing is. An id may be in lower case, or a section.

    Raises:
        UserError: there is no such claim.
    """
    every = sorted(registry.entries("claims"), key=lambda entry: order(entry.name))
    by_name = {entry.name.lower(): entry for entry in every}
    found: dict[str, Entry] = {}
    for text in asked:
        section = [entry for entry in every if re.fullmatch(rf"{re.escape(text)}\d+", entry.name, re.IGNORECASE)]
        if text.lower() in by_name:  # no two ids differ in case alone
            found[text.lower()] = by_name[text.lower()]
        elif section and text.isalpha():
            found |= {entry.name.lower(): entry for entry in section}
        else:
            raise UserError(unknown("claim", text, [entry.name for entry in every]))
    return sorted(found.values(), key=lambda entry: order(entry.name)) if asked else every


def tiers_of(entries: Iterable[Entry]) -> list[str]:
    """All tiers that some claim declares, in order of appearance."""
    return list(dict.fromkeys(tier for entry in entries for tier in entry.component.tiers))


def read_row(entry: Entry, tier: str, results: ClaimResults, registry: Registry) -> ClaimRow:
    """What is kept of a claim on a tier, and its decision.

    Measurements of the versions at hand count. Without them, the measurements of other versions are shown, with a note.
    """
    row = ClaimRow(entry, tier)
    kept, unreadable = results.of(entry.name)
    notes = [_told(item) for item in unreadable]
    mine = [one for one in kept if one.document.tier == tier]
    if mine:
        row.stored, found = _chosen(entry, tier, mine, registry)
        notes += found
    if row.stored is not None:
        try:
            row.table = row.stored.table()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            notes.append(f"{row.stored.files.path}: {reason}")
        else:
            try:
                row.decision = _checked(row.claim.decide(row.table, tier))
            except (Exception, SystemExit) as error:  # a plugin's mistake
                notes.append(f"decide: {Failure.of(error).line}")
        row.failed = row.decision is None
        measured = row.stored.document.measured.items()
        notes += [f"seed {seed}: {one.error.line}" for seed, one in measured if one.error is not None]
    row.notes = tuple(notes)
    return row


def _chosen(entry: Entry, tier: str, kept: Sequence[StoredClaim], registry: Registry) -> tuple[StoredClaim, list[str]]:
    """The measurements to show, and how they differ from those that would be made here."""
    try:
        first = identity_of(entry, tier, registry, DEVICES[0])
    except UserError as error:
        return max(kept, key=_worth), [str(error)]
    here: list[dict[str, Any]] = [first | {"device": device} for device in DEVICES]
    hashes = [identity_hash(one) for one in here]
    exact = [one for one in kept if one.document.hash in hashes]
    if exact:
        return min(exact, key=lambda one: hashes.index(one.document.hash)), []
    best = max(kept, key=_worth)
    told = ", ".join(differences(best.document.identity, here[0])) or "another version"
    return best, [f"measured with {told}; 'thalweg claims run {entry.name}' measures it here"]


def _worth(stored: StoredClaim) -> tuple[int, int, str]:
    document = stored.document
    revision = document.identity.get("revision")
    return revision if type(revision) is int else 0, len(document.measured), document.folder


def _checked(decision: Any) -> Decision:
    """The decision, if it is one."""
    verdicts = get_args(Verdict)
    if not isinstance(decision, Decision) or decision.verdict not in verdicts:
        raise TypeError(f"must return a Decision with one of the verdicts {', '.join(verdicts)}")
    if not any(isinstance(part, Part) and not part.reported for part in decision.parts):
        raise TypeError("the decision has no part that decides")
    for part in decision.parts:
        numbers = (part.statistic, part.low, part.high, part.threshold)
        if not isinstance(part, Part) or not all(isinstance(one, int | float) for one in numbers):
            raise TypeError("every part must be a Part with numbers")
        if part.verdict not in verdicts or not isinstance(part.name, str):
            raise TypeError("every part must have a name and a verdict")
    return decision


def _told(item: Unreadable) -> str:
    return f"{item.path} cannot be read: {item.reason}"

"""The probes that were measured on a benchmark's trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import pandas as pd

from thalweg.expand import Benchmark
from thalweg.failure import Failure
from thalweg.present.sentences import cell, title_of
from thalweg.store.columns import SEPARATOR
from thalweg.store.documents import ProbeDocument, TrialDocument
from thalweg.store.files import Files
from thalweg.store.overlay import NOTHING, Laid
from thalweg.store.stored import Documents
from thalweg.trial import ComponentRef

UNTOLD = Failure(kind="", message="no reason was recorded")


@dataclass
class Measured:
    """A probe with its settings, and the trials that it was measured on."""

    key: str
    ref: ComponentRef
    done: dict[str, Files] = field(default_factory=dict)
    """The files of trials with a table, by the trials' titles."""
    failed: dict[str, Failure] = field(default_factory=dict)
    """Why the probe failed, by the trials' titles."""
    here: set[str] = field(default_factory=set)
    """The titles of packed trials whose table was measured here, and is no part of the packed results."""

    @property
    def label(self) -> str:
        """The probe's name, and in brackets the settings that differ from their defaults."""
        settings = ", ".join(f"{name}={cell(value)}" for name, value in self.ref.options.items())
        return f"{self.ref.name} ({settings})" if settings else self.ref.name


def probes_by_label(trials: pd.DataFrame, stored: Documents, laid: Laid = NOTHING) -> dict[str, Measured]:
    """Every probe of the trials by its label, sorted; with what was measured here of packed trials.

    Where probes of several revisions or providers share a label, their keys follow it in brackets.
    """
    by_key: dict[str, Measured] = {}
    table = trials.join(stored.probes, on="hash", how="inner")
    for row in table.to_dict("records"):
        name = title_of(row["workload"], row["optimizer"], row["seed"])
        done, failed = (set(row[f"probes_{status}"].split(SEPARATOR)[:-1]) for status in ("done", "failed"))
        # read the trial's document only for a probe that no earlier trial described; since the trial was listed, its
        # folder may have gone, or have other probes
        trial = stored.get(row["hash"]) if failed or not done <= by_key.keys() else None
        probes = trial.document.probes if trial is not None else {}
        for key in sorted(done | failed):
            if key not in by_key and key in probes:
                by_key[key] = Measured(key, probes[key].request.probe)
            if key in by_key and key in done:
                by_key[key].done[name] = stored.files(row["hash"])
            elif key in by_key and key in probes:
                by_key[key].failed[name] = probes[key].error or UNTOLD
    for row in trials[trials["hash"].isin(list(laid.probes))].to_dict("records"):
        name = title_of(row["workload"], row["optimizer"], row["seed"])
        for key, probe in laid.probes[row["hash"]].items():
            one = by_key.setdefault(key, Measured(key, probe.request.probe))
            if probe.status == "done":
                # where the packed trial's own measurement failed, the table counts
                one.failed.pop(name, None)
                one.done[name] = laid.files[row["hash"]]
                one.here.add(name)
            else:
                one.failed[name] = probe.error or UNTOLD
    labels = [one.label for one in by_key.values()]
    named = {one.label if labels.count(one.label) == 1 else f"{one.label} [{key}]": one for key, one in by_key.items()}
    return dict(sorted(named.items()))


FIRST = 4
"""Trials that a picture shows at first, at most."""


def first_titles(titles: Sequence[str]) -> list[str]:
    """The trials to begin with: the first one of each workload."""
    found: dict[str, str] = {}
    for title in titles:
        found.setdefault(title.split(" · ")[0], title)
    return list(found.values())[:FIRST]


def networks_of(benchmark: Benchmark | None, titles: Sequence[str]) -> str:
    """What the networks of these trials are: the architecture of each workload, with its options."""
    known = benchmark.spec.workloads if benchmark else {}
    told = []
    for name in dict.fromkeys(title.split(" · ")[0] for title in titles):
        if name in known:
            one = known[name].architecture
            options = ", ".join(f"{key}={cell(value)}" for key, value in one.options.items())
            told.append(f"{name}: {one.name}{f' ({options})' if options else ''}")
    return f"{'; '.join(told)}." if told else ""


def probes_of(document: TrialDocument, here: Mapping[str, ProbeDocument] = MappingProxyType({})) -> pd.DataFrame:
    """The probes of one trial: name, settings, status, and the reason of a failure.

    With ``here``, which was measured here of a packed trial, a further column tells these probes apart.
    """
    rows = [
        {
            "probe": probe.request.probe.name,
            "settings": ", ".join(f"{name}={cell(value)}" for name, value in probe.request.probe.options.items()),
            "status": probe.status,
            "reason": f"{probe.error.kind}: {probe.error.message}" if probe.error else "",
        }
        for probe in (*document.probes.values(), *here.values())
    ]
    table = pd.DataFrame(rows, columns=["probe", "settings", "status", "reason"])
    if here:
        table.insert(3, "from", ["the packed results"] * len(document.probes) + ["measured here"] * len(here))
    return table

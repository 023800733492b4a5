"""Which probe tables a benchmark's trials have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from thalweg.app.words import cell, title
from thalweg.failure import Failure
from thalweg.store.documents import TrialDocument
from thalweg.store.results import StoredTrial
from thalweg.trial import ComponentRef


@dataclass
class Measured:
    """One probe with one set of settings, and the trials that it ran on."""

    key: str
    ref: ComponentRef
    done: dict[str, StoredTrial] = field(default_factory=dict)
    """By the trial's title."""
    failed: dict[str, Failure] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The probe's name with the settings that differ from their defaults."""
        settings = ", ".join(f"{name}={cell(value)}" for name, value in self.ref.options.items())
        return f"{self.ref.name} ({settings})" if settings else self.ref.name


def measured(trials: pd.DataFrame, stored: Mapping[str, StoredTrial]) -> dict[str, Measured]:
    """Every probe of the trials by label, sorted; one of another revision or provider has its key after the label."""
    by_key: dict[str, Measured] = {}
    for row in trials.to_dict("records"):
        trial = stored[row["hash"]]
        name = title(trial.document, row["optimizer"])
        for key, probe in trial.document.probes.items():
            one = by_key.setdefault(key, Measured(key, probe.request.probe))
            if probe.status == "done":
                one.done[name] = trial
            else:
                one.failed[name] = probe.error or Failure(kind="", message="no reason was recorded")
    labels = [one.label for one in by_key.values()]
    named = {one.label if labels.count(one.label) == 1 else f"{one.label} [{key}]": one for key, one in by_key.items()}
    return dict(sorted(named.items()))


def probes_of(document: TrialDocument) -> pd.DataFrame:
    """The probes of one trial: name, settings, status and why it failed."""
    rows = [
        {
            "probe": probe.request.probe.name,
            "settings": ", ".join(f"{name}={cell(value)}" for name, value in probe.request.probe.options.items()),
            "status": probe.status,
            "reason": f"{probe.error.kind}: {probe.error.message}" if probe.error else "",
        }
        for probe in document.probes.values()
    ]
    return pd.DataFrame(rows, columns=["probe", "settings", "status", "reason"])

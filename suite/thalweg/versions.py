"""Matches trials of other versions of plugins with the plugins that are installed here."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from thalweg.errors import UserError
from thalweg.refs import found_of, package_of_class
from thalweg.registry import Registry
from thalweg.store.stored import Stored
from thalweg.store.timings import configuration
from thalweg.store.trials import StoredTrial
from thalweg.trial import ComponentRef, Trial


class Adopted(NamedTuple):
    """Trials under the hashes that the plugins here give them, and how many trials have another hash on disk."""

    stored: Stored
    others: int


def as_of_here(stored: Stored, registry: Registry) -> Adopted:
    """The trials with revision, sources and provider replaced, as if the plugins of the registry had trained them.

    So a benchmark that is expanded with the plugins here finds the trials of an older version of a plugin. Of several
    versions of one trial, the version here counts, else the latest one.
    """
    trials = stored.trials.copy()
    renamed = {}
    for number, name in trials["name"].items():
        found = stored.results.trial(str(name))
        if isinstance(found, StoredTrial):
            renamed[number] = _here(found.document.trial, registry)
    hashes = [renamed[number].hash if number in renamed else hash_ for number, hash_ in trials["hash"].items()]
    trials["exact"] = [new == hash_ for new, hash_ in zip(hashes, trials["hash"], strict=True)]
    trials["hash"] = hashes
    trials["configuration"] = [
        configuration(renamed[number]) if number in renamed else old for number, old in trials["configuration"].items()
    ]
    aged = trials.sort_values(["exact", "json_ns"], kind="stable")
    kept = aged.drop_duplicates("hash", keep="last").sort_index()
    others = int((~kept["exact"]).sum())
    return Adopted(replace(stored, trials=kept.drop(columns="exact")), others)


def _here(trial: Trial, registry: Registry) -> Trial:
    return trial.model_copy(
        update={
            "problem": _ref(trial.problem, "problems", registry),
            "architecture": _ref(trial.architecture, "architectures", registry),
            "optimizer": _ref(trial.optimizer, "optimizers", registry),
        }
    )


def _ref(ref: ComponentRef, kind: str, registry: Registry) -> ComponentRef:
    try:
        entry = registry.entry(kind, ref.name)
    except UserError:
        return ref
    here = {"provider": entry.plugin.name, "revision": entry.component.revision, "digest": entry.plugin.digest}
    here["package"] = package_of_class(entry)
    return ref.model_copy(update=here | {"found": found_of(entry, {(entry.name, entry.plugin.name): ref.found})})

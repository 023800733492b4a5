"""The settings in which trials differ: what was asked for, with defaults resolved, and where it ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from thalweg.plan import Workload
from thalweg.present.numbers import DASH
from thalweg.present.sentences import aim, cell, count, ranking
from thalweg.present.table import Column, Table
from thalweg.store.documents import TrialDocument

_KINDS = ("problem", "architecture", "optimizer")
_PLAIN = (
    "batch_size", "validation_fraction", "clip_norm", "coupled_weight_decay", "decoupled_weight_decay",
    "weight_decay_on", "dtype", "precision", "device",
)  # fmt: skip
"""The fields of a trial that are shown as they are."""

Settings = Mapping[str, Any]
"""Values by the settings' names, such as ``optimizer lr``."""


def settings_of(document: TrialDocument, workload: Workload | None = None, seed: bool = True) -> dict[str, Any]:
    """Every setting of a trial, the workload's metric and target, and where the trial ran.

    Args:
        document: the trial's document.
        workload: tells metric and target; None where nobody here knows them.
        seed: whether the seed is one of the settings.
    """
    trial = document.trial
    found: dict[str, Any] = {}
    for kind in _KINDS:
        ref = getattr(trial, kind)
        found[kind] = ref.name
        # a file counts by its content, whose digest is among the options
        found |= {f"{kind} {name}": value for name, value in {**document.options.get(kind, {}), **ref.options}.items()}
        found |= {f"{kind} provider": f"{ref.provider}, revision {ref.revision}", f"{kind} digest": ref.digest}
        found |= {f"{kind} package": ref.package} if ref.package else {}
        found |= {f"{kind} {name} (found)": value for name, value in ref.found.items()}
    if workload is not None:
        found |= {"metric": ranking(workload), "target": aim(workload).removeprefix("target: ") or None}
    every = ", ".join(f"{amount} {unit}" for unit, amount in trial.evaluate_every.model_dump(exclude_none=True).items())
    found |= {"budget": str(trial.budget), "evaluate every": every, "schedule": str(trial.schedule)}
    found |= {name.replace("_", " "): getattr(trial, name) for name in _PLAIN}
    found["batched"] = "alone" if trial.stack is None else "batched"
    if seed:
        found["seed"] = trial.seed
    if document.imported is not None:
        found |= {f"imported {name}": value for name, value in document.imported.model_dump().items()}
    return found | dict(_flat(document.environment, "environment "))


def _flat(values: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key} ")
        else:
            yield f"{prefix}{key}", value


class Difference(NamedTuple):
    """A setting with its value on both sides, and the pairs of trials that have these values."""

    setting: str
    baseline: str
    candidate: str
    pairs: tuple[str, ...]


class Differences(NamedTuple):
    """The settings that differ in some pair of trials, and the number of settings that are equal in all pairs."""

    rows: list[Difference]
    equal: int
    pairs: int

    @property
    def sentence(self) -> str:
        """How many settings are equal."""
        where = f" in all {self.pairs} pairs of trials" if self.pairs > 1 else ""
        dash = " A dash stands for a setting that a side has not, or did not record." if self._dashed else ""
        return f"{count(self.equal, 'setting is', 'settings are')} equal{where}.{dash}"

    @property
    def _dashed(self) -> bool:
        return any(DASH in (row.baseline, row.candidate) for row in self.rows)

    @property
    def table(self) -> Table:
        """The rows as a table; of several pairs it says where the values are."""
        return Table(
            [
                column
                for column in (
                    Column("setting", "setting", lambda row: row["setting"], kind="text"),
                    Column("baseline", "baseline", lambda row: row["baseline"], kind="text"),
                    Column("candidate", "candidate", lambda row: row["candidate"], kind="text"),
                    Column("where", "where", lambda row: self._where(row["pairs"]), kind="text", when=self.pairs > 1),
                )
                if column.when
            ],
            [row._asdict() for row in self.rows],
        )

    def _where(self, pairs: Sequence[str]) -> str:
        return "everywhere" if len(pairs) == self.pairs else "; ".join(pairs)


def differences(pairs: Sequence[tuple[str, Settings, Settings]]) -> Differences:
    """Compare the settings of pairs of trials; each pair has a name.

    Values are compared as they are, and not as they are written: two numbers with six equal digits still differ.
    """
    there = list(dict.fromkeys(name for _, *sides in pairs for side in sides for name in side))
    rows: list[Difference] = []
    for name in there:
        values: dict[tuple[str, str], list[str]] = {}
        for pair, baseline, candidate in pairs:
            if _differ(baseline.get(name), candidate.get(name)):
                values.setdefault(_written(baseline.get(name), candidate.get(name)), []).append(pair)
        rows += [Difference(name, *texts, tuple(where)) for texts, where in values.items()]
    return Differences(rows, len(there) - len({row.setting for row in rows}), len(pairs))


def _differ(one: Any, other: Any) -> bool:
    # to Python True is 1, and nan differs from itself
    return (one != other or isinstance(one, bool) != isinstance(other, bool)) and repr(one) != repr(other)


def _written(one: Any, other: Any) -> tuple[str, str]:
    texts = cell(one), cell(other)
    if texts[0] == texts[1]:
        texts = repr(one), repr(other)
    return texts[0] or DASH, texts[1] or DASH

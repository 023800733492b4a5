"""Names of optimizers and settings among imported runs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from thalweg.benchmark_file import NAME
from thalweg.errors import UserError
from thalweg.foreign.cells import is_number
from thalweg.importing.mapping import NO_SETTING, Curve


def labels_of(curves: Sequence[Curve], notes: list[str]) -> list[str]:
    """The optimizer's name, and where a workload has it with several settings, the settings that differ."""
    groups: dict[tuple[str, str], list[Curve]] = defaultdict(list)
    for curve in curves:
        if not is_tuning(curve):
            groups[curve.workload, curve.optimizer].append(curve)
    differing: dict[tuple[str, str], list[str]] = {}
    dropped: set[str] = set()
    for key, members in groups.items():
        names = dict.fromkeys(name for curve in members for name in curve.parameters)
        # a run of one row has what never changes elsewhere among its values
        distinct = {
            name: {_alike(curve.parameters.get(name)) for curve in members if name not in curve.keys} for name in names
        }
        several = [name for name, values in distinct.items() if len(values) > 1]
        dropped |= {name for name in several if NO_SETTING.search(name)}
        differing[key] = [name for name in several if not NO_SETTING.search(name)]
    if dropped:
        notes.append(f"{', '.join(sorted(dropped))} differs between runs, and is taken for no setting")
    raw = []
    for curve in curves:
        for name in dropped:
            curve.parameters.pop(name, None)
        # a setting that tuning tried is no optimizer
        several = [] if is_tuning(curve) else differing[curve.workload, curve.optimizer]
        told = [f"{name}={curve.parameters[name]}" for name in several if name in curve.parameters]
        raw.append(f"{curve.optimizer}-{','.join(told)}" if told else curve.optimizer)
    names_of = cleaned(raw)
    return [names_of[text] for text in raw]


def is_tuning(curve: Curve) -> bool:
    """Whether an export says that tuning trained the run."""
    return curve.parameters.get("tuning") is True


def _alike(value: Any) -> Any:
    """A value to compare with others: 0 and 0.0 are one setting."""
    try:
        return float(value) if is_number(value) else repr(value)
    except OverflowError:
        return repr(value)


def cleaned(texts: Iterable[str]) -> dict[str, str]:
    """Texts as names of a benchmark file, each another one."""
    found: dict[str, str] = {}
    for text in dict.fromkeys(texts):
        name = first = _clean(text)
        number = 1
        while name in found.values():
            number += 1
            name = f"{first[:95]}-{number}"
        found[text] = name
    return found


def _clean(text: str) -> str:
    """A text of letters, digits and the signs . _ -"""
    made = re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-")[:100] or "unnamed"
    return made if NAME.fullmatch(made) else f"x{made}"[:100]


def check_twice(curves: Sequence[Curve], labels: Sequence[str]) -> None:
    """UserError where two runs are one seed of one optimizer."""
    seen: dict[tuple[str, str, int], Curve] = {}
    for curve, label in zip(curves, labels, strict=True):
        if is_tuning(curve):
            continue
        key = (curve.workload, label, curve.seed)
        if key in seen:
            one, other = seen[key].run, curve.run
            raise UserError(
                f"{other.source}: {other.name}: is seed {curve.seed} of {label} on {curve.workload}, as is "
                f"{one.source}: {one.name}: --map seed=PARAMETER tells them apart"
            )
        seen[key] = curve

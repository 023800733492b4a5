"""The options of the command line that add to a benchmark, or select a part of it."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from thalweg.benchmark_file import Keep, OptimizerSpec, explain
from thalweg.errors import UserError, unknown
from thalweg.shown import brief, cut
from thalweg.stacking import Stacks, alone

Device = Literal["cpu", "cuda", "mps"]
DEVICES: tuple[Device, ...] = ("cpu", "cuda", "mps")
"""The kinds of device that a trial can run on."""


Only = Mapping[str, tuple[str, ...]]
"""The names that ``--only`` selects, by key."""


@dataclass
class Selection:
    """The choices of the command line: ``--with`` adds to the grid, ``--only`` selects, ``--keep`` keeps weights."""

    seeds: int | None = None
    extra: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    device: Device = "cpu"
    keep: Keep | None = None
    stacks: Stacks = alone
    """Decides which pairs of a workload and an optimizer train in stacks."""


LONGEST = 100_000
"""The largest number of characters after ``--with`` or ``--only``."""


def _checked(text: str, option: str) -> str:
    if len(text) > LONGEST:
        raise UserError(f"{option} {cut(text)}: at most {LONGEST:,} characters are read")
    return text


def _split(settings: str) -> list[str]:
    """The pieces between commas. Commas inside of brackets, braces and quotes do not separate."""
    pieces, start, depth, quote = [], 0, 0, ""
    for place, sign in enumerate(settings):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        else:
            depth += (sign in "[{") - (sign in "]}")
        if sign == "," and depth == 0 and not quote:
            pieces.append(settings[start:place])
            start = place + 1
    return [*pieces, settings[start:]]


def parse_settings(texts: Iterable[str], where: str) -> dict[str, Any]:
    """The values of ``key=value`` pieces, read as TOML; a value that is not TOML is a text."""
    options: dict[str, Any] = {}
    for setting in texts:
        key, separator, value = setting.partition("=")
        if not separator:
            raise UserError(f"{where}: {brief(setting)} is not key=value")
        try:
            options[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except (ValueError, RecursionError):  # no TOML, a number of thousands of digits, or brackets within brackets
            options[key.strip()] = value.strip()
    return options


def parse_extra(text: str) -> tuple[str, OptimizerSpec]:
    """Label and optimizer of ``--with optimizer=NAME:key=value,...``; the label is all that follows ``optimizer=``."""
    kind, separator, rest = _checked(text, "--with").partition("=")
    said = f"--with {cut(text)}"
    name, _, settings = rest.partition(":")
    if kind != "optimizer" or not separator or not name:
        raise UserError(f"{said}: give optimizer=NAME or optimizer=NAME:key=value,key=value")
    options = parse_settings(filter(None, _split(settings)), said)
    if "optimizer" in options:
        raise UserError(f"{said}: 'optimizer' is no hyperparameter")
    try:
        return rest, OptimizerSpec(optimizer=name, **options)
    except ValidationError as error:
        raise UserError(f"{said}: {explain(error)}") from error


def is_wanted(only: Only, workload: str, optimizer: str) -> bool:
    """Whether trials of a pair pass the filters by workload and by optimizer."""
    names = {"workload": workload, "optimizer": optimizer}
    return all(value in only.get(key, (value,)) for key, value in names.items())


def seeds_wanted(only: Only, count: int) -> Sequence[int]:
    """The selected seeds among 0 to ``count`` - 1, in order. The function does not walk through the other seeds.

    >>> seeds_wanted({"seed": ("5", "007", "3")}, 10**12)
    [3, 5]
    """
    if "seed" not in only:
        return range(min(count, sys.maxsize))
    numbers = {int(text) for text in only["seed"] if text.isascii() and len(text) <= len(str(count))}
    return sorted(number for number in numbers if number < count and str(number) in only["seed"])


def parse_only(
    texts: Iterable[str], optimizers: Iterable[str], workloads: Iterable[str], added: Mapping[str, str] | None = None
) -> dict[str, tuple[str, ...]]:
    """The names that each ``--only KEY=NAME,NAME`` selects, by key.

    An optimizer that ``--with`` adds is selected by its label and by the optimizer's name. A user who writes ``--only
    optimizer=sgd --with optimizer=sgd:lr=0.001`` wants to see both.

    Args:
        texts: the text after each ``--only``.
        optimizers: the labels of all optimizers.
        workloads: the names of all workloads.
        added: the labels that ``--with`` adds, each with the optimizer's name.

    Raises:
        UserError: there is no such name, or what ``--with`` adds would be left out.
    """
    known = {"optimizer": set(optimizers), "workload": set(workloads), "seed": None}
    only: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, separator, value = _checked(text, "--only").partition("=")
        said = f"--only {cut(text)}"
        if not separator or key not in known:
            raise UserError(f"{said}: give optimizer=NAME,NAME or workload=NAME,NAME or seed=N,N")
        # a label made by --with holds commas of its own, so the whole text may be one name
        names = (value,) if value in (known[key] or ()) else tuple(part.strip() for part in value.split(","))
        for name in names:
            choices = known[key]
            if key == "optimizer" and name in (added or {}).values():
                continue
            if choices is not None and name not in choices:
                raise UserError(f"{said}: {unknown(key, name, choices)}")
            if key == "seed" and not name.isdecimal():
                raise UserError(f"{said}: {brief(name)} is no seed: give whole numbers, as in seed=0,1")
        only[key] = only.get(key, ()) + names
    if "optimizer" in only:
        more = tuple(label for label, name in (added or {}).items() if name in only["optimizer"])
        labels = tuple(label for label in only["optimizer"] if label in (known["optimizer"] or ()))
        only["optimizer"] = labels + tuple(label for label in more if label not in labels)
        for label in added or {}:
            if label not in only["optimizer"]:
                raise UserError(
                    f"--with optimizer={cut(label)}: left out by --only optimizer={cut(','.join(only['optimizer']))}: "
                    f"add --only 'optimizer={cut(label)}', or leave out this --with"
                )
    return only

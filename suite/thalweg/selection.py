"""What the command line adds to a benchmark and filters from it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from thalweg.benchmark_file import Keep, OptimizerSpec, explain
from thalweg.errors import UserError, unknown
from thalweg.stacking import Stacks, alone

Device = Literal["cpu", "cuda", "mps"]
DEVICES: tuple[Device, ...] = ("cpu", "cuda", "mps")
"""Kinds of device that a trial can be asked for on."""


@dataclass
class Selection:
    """What the command line says: ``--with`` adds to the grid, ``--only`` filters what results, ``--keep`` keeps."""

    seeds: int | None = None
    extra: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    device: Device = "cpu"
    keep: Keep | None = None
    stacks: Stacks = alone
    """Which pairs of a workload and an optimizer train in stacks."""


def _split(settings: str) -> list[str]:
    """Pieces between commas, but for those inside of brackets, braces and quotes."""
    pieces, depth, quote = [""], 0, ""
    for sign in settings:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        else:
            depth += (sign in "[{") - (sign in "]}")
        if sign == "," and depth == 0 and not quote:
            pieces.append("")
        else:
            pieces[-1] += sign
    return pieces


def parse_settings(texts: Iterable[str], where: str) -> dict[str, Any]:
    """The values of ``key=value`` pieces, as TOML has them; what is no TOML is text."""
    options: dict[str, Any] = {}
    for setting in texts:
        key, separator, value = setting.partition("=")
        if not separator:
            raise UserError(f"{where}: {setting!r} is not key=value")
        try:
            options[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            options[key.strip()] = value.strip()
    return options


def parse_extra(text: str) -> tuple[str, OptimizerSpec]:
    """Label and optimizer of ``--with optimizer=NAME:key=value,...``; the label is all that follows ``optimizer=``."""
    kind, separator, rest = text.partition("=")
    name, _, settings = rest.partition(":")
    if kind != "optimizer" or not separator or not name:
        raise UserError(f"--with {text}: give optimizer=NAME or optimizer=NAME:key=value,key=value")
    options = parse_settings(filter(None, _split(settings)), f"--with {text}")
    if "optimizer" in options:
        raise UserError(f"--with {text}: 'optimizer' is no hyperparameter")
    try:
        return rest, OptimizerSpec(optimizer=name, **options)
    except ValidationError as error:
        raise UserError(f"--with {text}: {explain(error)}") from error


def is_wanted(only: Mapping[str, tuple[str, ...]], workload: str, optimizer: str, seed: int) -> bool:
    """Whether a trial passes every filter."""
    names = {"workload": workload, "optimizer": optimizer, "seed": str(seed)}
    return all(value in only.get(key, (value,)) for key, value in names.items())


def parse_only(
    texts: Iterable[str], optimizers: Iterable[str], workloads: Iterable[str], added: Mapping[str, str] | None = None
) -> dict[str, tuple[str, ...]]:
    """The names that each ``--only KEY=NAME,NAME`` lets through, by key.

    An optimizer that ``--with`` adds is let through by its label and by the optimizer's own name: who writes ``--only
    optimizer=sgd --with optimizer=sgd:lr=0.001`` wants to see both.

    Args:
        texts: what follows each ``--only``.
        optimizers: every label.
        workloads: every name.
        added: of the labels those that ``--with`` adds, with the optimizer's name.

    Raises:
        UserError: there is no such name, or what ``--with`` adds would be left out.
    """
    known = {"optimizer": list(optimizers), "workload": list(workloads), "seed": None}
    only: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or key not in known:
            raise UserError(f"--only {text}: give optimizer=NAME,NAME or workload=NAME,NAME or seed=N,N")
        # a label made by --with holds commas of its own, so the whole text may be one name
        names = (value,) if value in (known[key] or ()) else tuple(part.strip() for part in value.split(","))
        for name in names:
            choices = known[key]
            if choices is not None and name not in choices:
                raise UserError(f"--only {text}: {unknown(key, name, choices)}")
            if key == "seed" and not name.isdecimal():
                raise UserError(f"--only {text}: {name!r} is no seed: give whole numbers, as in seed=0,1")
        only[key] = only.get(key, ()) + names
    if "optimizer" in only:
        more = tuple(label for label, name in (added or {}).items() if name in only["optimizer"])
        only["optimizer"] += tuple(label for label in more if label not in only["optimizer"])
        for label in added or {}:
            if label not in only["optimizer"]:
                raise UserError(
                    f"--with optimizer={label}: left out by --only optimizer={','.join(only['optimizer'])}: "
                    f"add --only 'optimizer={label}', or leave out this --with"
                )
    return only

"""The description of a component that ``thalweg show`` and the Plugins page print.

``described`` gives the document that ``--json`` prints. ``facts`` gives the lines for people, in their order, and
``options``, ``measured_columns`` and ``sizes`` give the tables. To add a fact, such as a DOI, add it to ``described``
and to ``facts``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from thalweg.contracts import Architecture, Component, Hyperparameter, Optimizer, Option, Probe, Problem, Shape
from thalweg.contracts.option import resolve
from thalweg.conventions import PLAIN, known
from thalweg.present.numbers import DASH
from thalweg.present.sentences import cell
from thalweg.present.table import Column, Table, table
from thalweg.refs import provider_of
from thalweg.registry import Entry, Registry

Document = dict[str, Any]
Measure = Callable[[Architecture, dict[str, Any], Shape], Any]


def listed(kind: str, entry: Entry) -> Document:
    """Name, kind, summary and provider of a component, as ``thalweg list`` prints them."""
    return {
        "name": entry.name,
        "kind": kind[:-1],
        "summary": summary(entry),
        "plugin": entry.plugin.name,
        "version": entry.plugin.version,
    }


def summary(entry: Entry) -> str:
    """One line about a component, or about a benchmark from its file."""
    if isinstance(entry.component, Path):
        return str(tomllib.loads(entry.component.read_text(encoding="utf-8")).get("summary", ""))
    return str(entry.component.summary)


def described(kind: str, entry: Entry) -> Document:
    """Everything about a component but the sizes of an architecture, which ``sizes_by_shape`` computes."""
    document = listed(kind, entry)
    component = entry.component
    if isinstance(component, Path):
        return {**document, "file": str(component), "text": component.read_text(encoding="utf-8")}
    document |= {
        "equation": component.equation,
        "source": component.source,
        "revision": component.revision,
        options_title(kind): [_option(option) for option in component.options],
        "description": "\n\n".join(" ".join(part.split()) for part in component.description.split("\n\n")),
    }
    if isinstance(component, Optimizer):
        document |= {"implementation": component.implementation, "conventions": _conventions(entry)}
        document |= {"cost": component.cost, "elementwise": component.elementwise, "refuses": _refused(component)}
    if isinstance(component, Problem):
        document |= _problem(component)
    if isinstance(component, Probe):
        document["when"] = list(component.when)
        document["columns"] = [vars(column) for column in component.columns]
    return document


def facts(component: Component, document: Document) -> dict[str, str]:
    """The facts of a component's document for people, by their labels; facts that are empty are left out."""
    told = {
        "what": document["summary"],
        "equation": document["equation"],
        "cost of a step": document.get("cost", ""),
        "refuses": ", ".join(document.get("refuses", [])),
        "about": document["description"].replace("``", ""),
        "source": document["source"] if document["source"] not in document.get("implementation", "") else "",
        "class": document.get("implementation", ""),
        "conventions": "; ".join(map(_in_words, document.get("conventions", []))),
        **(_problem_facts(component, document) if isinstance(component, Problem) else {}),
        "measured": ", ".join(document.get("when", [])),
        "plugin": f"{document['plugin']} {document['version']}, revision {document['revision']}",
    }
    return {label: text for label, text in told.items() if text}


def options(component: Component) -> Table:
    """The declared options: default, allowed values, and the range in which tuning searches."""
    columns = [
        Column("name", "name", lambda row: row["name"], kind="text"),
        Column("default", "default", lambda row: cell(row["default"]), kind="text"),
        Column("allowed", "allowed", lambda row: cell(row["allowed"]) if row["allowed"] else "any", kind="text"),
        Column("search", "search", _search, kind="text"),
        Column("what", "what", lambda row: row["summary"], kind="text"),
    ]
    return Table(columns, [_option(option) for option in component.options])


def measured_columns(probe: Probe) -> Table:
    """The columns of a probe's table."""
    columns = [
        Column("column", "column", lambda row: row["name"], kind="text"),
        Column("unit", "unit", lambda row: row["unit"] or DASH, kind="text"),
        Column("what", "what", lambda row: row["summary"], kind="text"),
    ]
    return Table(columns, [vars(column) for column in probe.columns])


def sizes_by_shape(architecture: Architecture, registry: Registry, size: Measure) -> Document:
    """Parameters and operations for every registered problem that fits, and why the others do not fit.

    ``size`` builds the network and counts, as ``thalweg.training.size.size`` does.
    """
    given = resolve(architecture.options, {}, architecture.name)
    fits: dict[Shape, list[str]] = {}
    misfits = []
    for entry in registry.entries("problems"):
        shape = _shape(registry.problem(entry.name))
        if shape is None:
            continue
        reason = architecture.misfit(given, shape)
        if reason is None:
            fits.setdefault(shape, []).append(entry.name)
        else:
            misfits.append({"problem": entry.name, "reason": reason})
    rows = [
        {"problems": names, "input": list(shape.input), "output": list(shape.output)}
        | vars(size(architecture, given, shape))
        for shape, names in fits.items()
    ]
    return {"sizes_by_shape": rows, "misfits": misfits}


def sizes(document: Document) -> Table:
    """The sizes of an architecture by the problems that have one shape."""
    columns = [
        Column("problems", "problems", lambda row: ", ".join(row["problems"]), kind="text"),
        Column("input", "input", lambda row: _by(row["input"]), kind="text"),
        Column("output", "output", lambda row: _by(row["output"]), kind="text"),
        Column("parameters", "parameters", lambda row: f"{row['parameters']:,}", kind="text"),
        Column("flops", "FLOPs of a forward pass", lambda row: f"{row['flops']:,}", kind="text"),
    ]
    return table(columns, pd.DataFrame(document["sizes_by_shape"]))


def _by(shape: list[int]) -> str:
    """A shape in words: ``3x32x32``, or ``nothing``."""
    return "x".join(map(str, shape)) or "nothing"


def options_title(kind: str) -> str:
    """The word for the options of a kind: optimizers have hyperparameters, others have options."""
    return "hyperparameters" if kind == "optimizers" else "options"


def _option(option: Option) -> Document:
    search = option.search if isinstance(option, Hyperparameter) else None
    return {
        "name": option.name,
        "default": list(option.default) if isinstance(option.default, tuple) else option.default,
        "low": search.low if search else None,
        "high": search.high if search else None,
        "scale": search.scale if search else None,
        "allowed": list(option.allowed) if isinstance(option.allowed, tuple) else option.allowed,
        "summary": option.summary,
    }


def _search(option: Any) -> str:
    return f"{option['low']:g} to {option['high']:g} ({option['scale']})" if option["scale"] else DASH


_WORDS = {
    ("closure", False): "takes no closure",
    ("closure", True): "takes a closure",
    ("closure", "with gradients"): "takes a closure, with gradients in place",
    ("create_graph", False): "takes plain gradients",
    ("create_graph", True): "takes gradients with their graph",
    ("modes", False): "train() and eval() are not called",
    ("modes", True): "train() and eval() are called",
    ("groups", True): "its groups are a function of the network",
}
_UNKNOWN = {
    "closure": "whether it takes a closure",
    "create_graph": "whether it takes gradients with their graph",
    "modes": "whether train() and eval() are called",
}


def _conventions(entry: Entry) -> list[Document]:
    """How a foreign class is called, and how thalweg knows it; ``value`` is None where it is not known yet."""
    optimizer = entry.component
    found = known(optimizer, provider_of(entry))
    told = []
    for key in ("closure", "create_graph", "modes", "groups"):
        if key in optimizer.open_conventions:
            value = None if found is None else found.get(key, optimizer.conventions.get(key, PLAIN[key]))
            told.append({"convention": key, "value": value, "by": "first run" if found is None else "found"})
        elif key in optimizer.conventions:
            told.append({"convention": key, "value": optimizer.conventions[key], "by": "given"})
    return told


def _in_words(told: Document) -> str:
    if told["value"] is None:
        return f"{_UNKNOWN[told['convention']]} is found at the first run"
    return f"{_WORDS[told['convention'], told['value']]} ({told['by']})"


def _refused(optimizer: Optimizer) -> list[str]:
    """The keys of a benchmark file that the optimizer does not take."""
    takes = {"clip_norm": optimizer.takes_any_gradient, "decoupled_weight_decay": optimizer.takes_decoupled_decay}
    return [key for key, taken in takes.items() if not taken]


def _problem(problem: Problem) -> Document:
    """Licence, sizes, splits, normalisation, shape, metrics, budget and target, with all options at their defaults."""
    shape = _shape(problem)
    return {
        "licence": problem.licence,
        "normalisation": problem.normalisation,
        "metrics": [metric.name for metric in problem.metrics],
        "splits": list(problem.splits),
        "sizes": problem.sizes(resolve(problem.options, {}, problem.name)),
        "task": shape.task if shape else None,
        "input": list(shape.input) if shape else None,
        "output": list(shape.output) if shape else None,
        "budget": problem.budget.model_dump(exclude_none=True) if problem.budget else None,
        "target": problem.target.model_dump() if problem.target else None,
        "target_source": problem.target_source,
    }


def _problem_facts(problem: Problem, document: Document) -> dict[str, str]:
    examples = ", ".join(f"{count:,} {split}" for split, count in document["sizes"].items())
    if examples and "valid" in document["splits"]:
        examples += "; a workload's validation_fraction is taken from train"
    budget = " ".join(f"{amount} {unit}" for unit, amount in (document["budget"] or {}).items())
    target = document["target"]
    return {
        "licence": document["licence"],
        "examples": examples,
        "normalisation": document["normalisation"],
        "task": f"{document['task']}: {_by(document['input'])} to {_by(document['output'])}"
        if document["task"]
        else "",
        "metrics": ", ".join(f"{metric.name} ({metric.better} is better)" for metric in problem.metrics),
        "budget": f"{budget}, where a benchmark does not set one" if budget else "",
        "target": f"{target['metric']} {target['value']:g}: {document['target_source']}" if target else "",
    }


def _shape(problem: Problem) -> Shape | None:
    """The shape at default options; None where it depends on a file of the user's, or where a plugin fails."""
    try:
        return problem.shape(resolve(problem.options, {}, problem.name))
    except Exception:  # a plugin's mistake in one problem must not hide the others
        return None

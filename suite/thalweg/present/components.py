"""What ``thalweg show`` tells of problems and architectures."""

from __future__ import annotations

from typing import Any

from thalweg.contracts import Architecture, Problem, Shape
from thalweg.contracts.option import resolve
from thalweg.registry import Registry


def described_problem(problem: Problem) -> dict[str, Any]:
    """Licence, sizes, splits, normalisation, shape, metrics, budget and target, options at their defaults."""
    defaults = resolve(problem.options, {}, problem.name)
    shape = _shape(problem)
    return {
        "licence": problem.licence,
        "normalisation": problem.normalisation,
        "metrics": [metric.name for metric in problem.metrics],
        "splits": list(problem.splits),
        "sizes": problem.sizes(defaults),
        "task": shape.task if shape else None,
        "input": list(shape.input) if shape else None,
        "output": list(shape.output) if shape else None,
        "budget": problem.budget.model_dump(exclude_none=True) if problem.budget else None,
        "target": problem.target.model_dump() if problem.target else None,
        "target_source": problem.target_source,
    }


def problem_lines(document: dict[str, Any]) -> dict[str, str]:
    """The lines of a problem's table; empty for whatever is no problem."""
    if "splits" not in document:
        return {}
    sizes = ", ".join(f"{count:,} {split}" for split, count in document["sizes"].items())
    if sizes and "valid" in document["splits"]:
        sizes += "; a workload's validation_fraction is taken from train"
    budget = " ".join(f"{amount} {unit}" for unit, amount in (document["budget"] or {}).items())
    target = document["target"]
    return {
        "licence": document["licence"],
        "examples": sizes,
        "normalisation": document["normalisation"],
        "task": f"{document['task']}: {by(document['input'])} to {by(document['output'])}" if document["task"] else "",
        "metrics": ", ".join(document["metrics"]),
        "budget": f"{budget}, where a benchmark does not say" if budget else "",
        "target": f"{target['metric']} {target['value']:g}: {document['target_source']}" if target else "",
    }


def described_architecture(architecture: Architecture, registry: Registry) -> dict[str, Any]:
    """Parameters and operations for every registered problem that fits, and why the others do not."""
    from thalweg.training.size import size

    options = resolve(architecture.options, {}, architecture.name)
    fits: dict[Shape, list[str]] = {}
    misfits = []
    for entry in registry.entries("problems"):
        shape = _shape(registry.problem(entry.name))
        if shape is None:
            continue
        reason = architecture.misfit(options, shape)
        if reason is None:
            fits.setdefault(shape, []).append(entry.name)
        else:
            misfits.append({"problem": entry.name, "reason": reason})
    rows = [
        {"problems": names, "input": list(shape.input), "output": list(shape.output)}
        | vars(size(architecture, options, shape))
        for shape, names in fits.items()
    ]
    return {"sizes_by_shape": rows, "misfits": misfits}


def size_rows(document: dict[str, Any]) -> list[list[Any]]:
    """The sizes as rows of a table."""
    return [
        [
            ", ".join(row["problems"]),
            by(row["input"]),
            by(row["output"]),
            f"{row['parameters']:,}",
            f"{row['flops']:,}",
        ]
        for row in document["sizes_by_shape"]
    ]


def by(shape: list[int]) -> str:
    """A shape in words: ``3x32x32``, or ``nothing``."""
    return "x".join(map(str, shape)) or "nothing"


def _shape(problem: Problem) -> Shape | None:
    """The shape at default options; None where it has none without a file of the user's, or a plugin is wrong."""
    try:
        return problem.shape(resolve(problem.options, {}, problem.name))
    except Exception:  # whatever a plugin does wrong in one problem must not hide the others
        return None

"""The reference of benchmark files, from the models that check them: for each table of a file a table of its keys."""

from __future__ import annotations

import json
from inspect import get_annotations, getdoc
from typing import Any

from pydantic import BaseModel
from sphinx.pycode import ModuleAnalyzer

from thalweg.benchmark_file import (
    BenchmarkFile,
    ComponentSpec,
    ImportedChoice,
    ImportedMetric,
    ImportedSpec,
    ImportedWorkload,
    OptimizerSpec,
    OverrideSpec,
    ProbeSpec,
    TrackSpec,
    TuningSpec,
    WorkloadSpec,
)
from thalweg.contracts.budget import Budget, Interval, Target
from thalweg.contracts.schedule import Schedule

TITLES: dict[type[BaseModel], str] = {
    BenchmarkFile: "The whole file",
    WorkloadSpec: "Workload",
    OptimizerSpec: "Optimizer",
    OverrideSpec: "Override",
    ProbeSpec: "Probe",
    TuningSpec: "Tuning",
    TrackSpec: "Track",
    ImportedSpec: "Imported",
    ImportedWorkload: "Imported workload",
    ImportedMetric: "Imported metric",
    ImportedChoice: "Imported choice",
    ComponentSpec: "Component",
    Budget: "Budget",
    Interval: "Interval",
    Target: "Target",
    Schedule: "Schedule",
}
LINKS = {model.__name__: f"[{title.lower()}](#{title.lower()})" for model, title in TITLES.items()}
NAMES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
HEAD = """# Keys of a benchmark file

This page is made from the schema that checks a [benchmark file](../../benchmarks.md). A key without a default is
required.
Where the default is –, the meaning says what happens without the key.
"""


def kind(schema: dict[str, Any]) -> str:
    """The type of a value in words, from its JSON schema."""
    if "$ref" in schema:
        return LINKS[schema["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in schema:
        return " or ".join(kind(arm) for arm in schema["anyOf"] if arm.get("type") != "null")
    if "const" in schema or "enum" in schema:
        return ", ".join(f'`"{value}"`' for value in schema.get("enum", [schema.get("const")]))
    if schema["type"] == "array":
        return f"list of: {kind(schema['items'])}"
    if schema["type"] == "object":
        return f"tables by name, of: {kind(schema['additionalProperties'])}"
    bounds = " and ".join(f"{BOUNDS[key]} {schema[key]}" for key in BOUNDS if key in schema)
    return f"{NAMES[schema['type']]} {bounds}".strip()


def comment(model: type[BaseModel], key: str) -> str:
    """The docstring of a field, of the class that defines the field."""
    for owner in model.__mro__:
        if key in get_annotations(owner):
            docs = ModuleAnalyzer.for_module(owner.__module__).find_attr_docs()
            return " ".join(docs.get((owner.__name__, key), [])).strip()
    raise LookupError(key)


def section(model: type[BaseModel]) -> str:
    """One table of a benchmark file."""
    schema = model.model_json_schema()
    rows = [f"## {TITLES[model]}", "", (getdoc(model) or "").split(">>>")[0].strip(), ""]
    rows += ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key, value in schema["properties"].items():
        default = "" if key in schema.get("required", []) else "–"
        if (given := value.get("default")) is not None:
            given = (
                {name: each for name, each in given.items() if each is not None} if isinstance(given, dict) else given
            )
            default = f"`{json.dumps(given)}`"
        rows.append(f"| `{key}` | {kind(value)} | {default} | {comment(model, key)} |".replace("||", "\\|\\|"))
    return "\n".join(rows) + "\n"


def page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([HEAD, *(section(model) for model in TITLES)])

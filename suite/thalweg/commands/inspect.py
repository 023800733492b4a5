"""``thalweg list``, ``show``, ``plugins`` and ``doctor``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from thalweg.commands.describe import described_architecture, described_problem, problem_lines, size_rows
from thalweg.commands.output import console, lines, print_json, print_table, warn_of_failures
from thalweg.contracts import Architecture, Hyperparameter, Optimizer, Option, Probe, Problem
from thalweg.errors import UserError, unknown
from thalweg.registry import KINDS, Entry, Registry, load_registry
from thalweg.store.roots import benchmarks_in, results_root


def list_command(kind: str | None, plugin_files: list[Path], as_json: bool) -> None:
    """Print everything of a kind, or of every kind."""
    if kind is not None and kind not in KINDS:
        raise UserError(unknown("kind", kind, KINDS))
    registry = load_registry(plugin_files)
    kinds = [kind] if kind else list(KINDS)
    if as_json:
        print_json({one: [_listed(one, entry) for entry in registry.entries(one)] for one in kinds})
        return
    for one in kinds:
        rows = [
            [row["name"], row["summary"], row["plugin"]] for row in (_listed(one, e) for e in registry.entries(one))
        ]
        if rows or kind:
            print_table(one, ["name", "summary", "plugin"], rows)
            console().print()
    warn_of_failures(registry.plugins)


def _summary(entry: Entry) -> str:
    if isinstance(entry.component, Path):
        table = tomllib.loads(entry.component.read_text(encoding="utf-8"))
        return str(table.get("summary", ""))
    return str(entry.component.summary)


def _listed(kind: str, entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "kind": kind[:-1],
        "summary": _summary(entry),
        "plugin": entry.plugin.name,
        "version": entry.plugin.version,
    }


def _option(option: Option) -> dict[str, Any]:
    search = option.search if isinstance(option, Hyperparameter) else None
    allowed = list(option.allowed) if isinstance(option.allowed, tuple) else option.allowed
    return {
        "name": option.name,
        "default": list(option.default) if isinstance(option.default, tuple) else option.default,
        "low": search.low if search else None,
        "high": search.high if search else None,
        "scale": search.scale if search else None,
        "allowed": allowed,
        "summary": option.summary,
    }


def _refused(optimizer: Optimizer) -> list[str]:
    """Keys of a benchmark that do not go with the optimizer."""
    takes = {"clip_norm": optimizer.takes_any_gradient, "decoupled_weight_decay": optimizer.takes_decoupled_decay}
    return [key for key, taken in takes.items() if not taken]


def _described(kind: str, entry: Entry, registry: Registry) -> dict[str, Any]:
    document = _listed(kind, entry)
    component = entry.component
    if isinstance(component, Path):
        return {**document, "file": str(component), "text": component.read_text(encoding="utf-8")}
    key = "hyperparameters" if kind == "optimizers" else "options"
    document |= {
        "equation": component.equation,
        "source": component.source,
        "revision": component.revision,
        key: [_option(option) for option in component.options],
        "description": "\n\n".join(" ".join(part.split()) for part in component.description.split("\n\n")),
    }
    if isinstance(component, Optimizer):
        document |= {"cost": component.cost, "elementwise": component.elementwise, "refuses": _refused(component)}
    if isinstance(component, Problem):
        document |= described_problem(component)
    if isinstance(component, Architecture):
        document |= described_architecture(component, registry)
    if isinstance(component, Probe):
        document["when"] = list(component.when)
        document["columns"] = [vars(column) for column in component.columns]
    return document


def show_command(name: str, plugin_files: list[Path], as_json: bool) -> None:
    """Print all that is known of one thing; a name that several kinds share shows each."""
    registry = load_registry(plugin_files)
    found = [
        _described(kind, entry, registry) for kind in KINDS for entry in registry.entries(kind) if entry.name == name
    ]
    if not found:
        names = [entry.name for kind in KINDS for entry in registry.entries(kind)]
        failed = [f"{record.name} ({record.error})" for record in registry.plugins if record.error]
        note = f". Plugins that failed to load: {'; '.join(failed)}" if failed else ""
        raise UserError(unknown("plugin", name, names) + note)
    if as_json:
        print_json(found[0] if len(found) == 1 else {**found[0], "also": found[1:]})
        return
    for document in found:
        _print_described(document)


def _print_described(document: dict[str, Any]) -> None:
    out = console()
    out.print(f"{document['name']} ({document['kind']})", style="bold", markup=False)
    if "text" in document:
        out.print(document["file"])
        out.print()
        out.print(lines(document["text"]))
        return
    options = document.get("hyperparameters") or document.get("options") or []
    about = {
        "what": document["summary"],
        "equation": document["equation"],
        "cost of a step": document.get("cost", ""),
        "refuses": ", ".join(document.get("refuses", [])),
        "about": lines(document["description"].replace("``", "")),
        "source": document["source"],
        **problem_lines(document),
        "measured": ", ".join(document.get("when", [])),
        "plugin": f"{document['plugin']} {document['version']}, revision {document['revision']}",
    }
    print_table("", ["", ""], [[key, value] for key, value in about.items() if value])
    if options:
        out.print()
        rows = [
            [
                option["name"],
                option["default"],
                ", ".join(option["allowed"]) if isinstance(option["allowed"], list) else option["allowed"] or "any",
                f"{option['low']:g} to {option['high']:g} ({option['scale']})" if option["scale"] else "–",
                option["summary"],
            ]
            for option in options
        ]
        title = "hyperparameters" if "hyperparameters" in document else "options"
        print_table(title, ["name", "default", "allowed", "search", "what"], rows)
    if document.get("sizes_by_shape"):
        out.print()
        title = "size, options at their defaults"
        columns = ["problems", "input", "output", "parameters", "FLOPs of a forward pass"]
        print_table(title, columns, size_rows(document))
    if document.get("columns"):
        out.print()
        rows = [[column["name"], column["unit"] or "–", column["summary"]] for column in document["columns"]]
        print_table("table", ["column", "unit", "what"], rows)
    out.print()


def plugins_command(plugin_files: list[Path], as_json: bool) -> None:
    """Print every plugin; failures with their reason."""
    registry = load_registry(plugin_files)
    documents = [
        {
            "name": record.name,
            "version": record.version,
            "origin": record.origin,
            "registered": record.registered,
            "error": record.error,
        }
        for record in registry.plugins
    ]
    if as_json:
        print_json({"plugins": documents})
        return
    rows = []
    for record in registry.plugins:
        what = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in record.registered.items()) or "nothing"
        rows.append([record.name, record.version, record.origin, f"failed: {record.error}" if record.error else what])
    print_table("plugins", ["name", "version", "origin", "registered"], rows)


def doctor_command(results: Path | None, plugin_files: list[Path], as_json: bool) -> int:
    """Print what this installation can use; exit code 1 if a plugin failed or the results cannot be written."""
    import os

    from thalweg.allocator import allocator
    from thalweg.commands.run import cuda_present
    from thalweg.own import cache_folder
    from thalweg.runner.environment import machine

    registry = load_registry(plugin_files)
    root = results_root(results)
    existing = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    writable = existing.is_dir() and os.access(existing, os.W_OK)
    failures = [{"plugin": record.name, "error": record.error} for record in registry.plugins if record.error]
    document = {
        **machine(),
        "device": "cuda" if cuda_present() else "cpu",
        "allocator": allocator(),
        "results": {"folder": str(root), "writable": writable, "benchmarks": benchmarks_in(root)},
        "data": {"given": os.environ.get("THALWEG_DATA"), "cache": str(cache_folder())},
        "plugin_failures": failures,
    }
    if as_json:
        print_json(document)
        return 0 if writable and not failures else 1
    data = document["data"]
    packages = ", ".join(f"{name} {version}" for name, version in document["packages"].items())
    rows = [
        ["thalweg", f"{document['thalweg']} (commit {document['git_commit'] or 'none: installed from a package'})"],
        ["python", f"{document['python']} on {document['platform']}"],
        ["packages", packages],
        ["processor", f"{document['cpu']}, {document['cores']} cores"],
        ["device", document["device"]],
        ["allocator", document["allocator"]],
        ["results", f"{root} ({'writable' if writable else 'NOT writable'})"],
        ["benchmarks", ", ".join(document["results"]["benchmarks"]) or "none there yet: type 'thalweg run quick'"],
        ["data", f"{data['given'] or 'THALWEG_DATA is not set'}; downloads go to {data['cache']}"],
        ["plugins", f"{len(registry.plugins)} loaded, {len(failures)} failed"],
        *[[f"  {failure['plugin']}", f"failed: {failure['error']}"] for failure in failures],
    ]
    print_table("", ["", ""], rows)
    return 0 if writable and not failures else 1

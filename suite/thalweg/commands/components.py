"""``thalweg list`` and ``thalweg show``."""

from __future__ import annotations

from pathlib import Path

from thalweg.console import console, lines, print_json, print_table, warn_of_failures
from thalweg.contracts import Architecture, Probe
from thalweg.errors import UserError, unknown
from thalweg.present import components
from thalweg.present.components import Document
from thalweg.present.table import Table
from thalweg.registry import KINDS, Entry, Registry, load_registry


def list_command(kind: str | None, plugin_files: list[Path], as_json: bool) -> None:
    """Print every registered component of one kind, or of every kind."""
    if kind is not None and kind not in KINDS:
        raise UserError(unknown("kind", kind, KINDS))
    registry = load_registry(plugin_files)
    documents = {
        one: [components.listed(one, entry) for entry in registry.entries(one)] for one in ([kind] if kind else KINDS)
    }
    if as_json:
        print_json(documents)
        return
    for one, rows in documents.items():
        if rows or kind:
            print_table(
                one, ["name", "summary", "plugin"], [[row["name"], row["summary"], row["plugin"]] for row in rows]
            )
            console().print()
    warn_of_failures(registry.plugins)


def show_command(name: str, plugin_files: list[Path], as_json: bool) -> None:
    """Print all that is known of a component, and of each component where several kinds share the name."""
    registry = load_registry(plugin_files)
    found = [(kind, entry) for kind in KINDS for entry in registry.entries(kind) if entry.name == name]
    if not found:
        for kind in KINDS:
            registry.check_absent(kind, name)
        names = [entry.name for kind in KINDS for entry in registry.entries(kind)]
        failed = [f"{record.name} ({record.error})" for record in registry.plugins if record.error]
        note = f". Plugins that failed to load: {'; '.join(failed)}" if failed else ""
        raise UserError(unknown("component", name, names) + note)
    documents = [_described(kind, entry, registry) for kind, entry in found]
    if as_json:
        print_json(documents[0] if len(documents) == 1 else {**documents[0], "also": documents[1:]})
        return
    for (kind, entry), document in zip(found, documents, strict=True):
        _print(kind, entry, document)


def _described(kind: str, entry: Entry, registry: Registry) -> Document:
    document = components.described(kind, entry)
    if isinstance(entry.component, Architecture):
        from thalweg.training.size import size

        document |= components.sizes_by_shape(entry.component, registry, size)
    return document


def _print(kind: str, entry: Entry, document: Document) -> None:
    out = console()
    out.print(f"{document['name']} ({document['kind']})", style="bold", markup=False)
    component = entry.component
    if isinstance(component, Path):
        out.print(document["file"])
        out.print()
        out.print(lines(document["text"]))
        return
    facts = components.facts(component, document)
    print_table("", ["", ""], [[label, lines(text)] for label, text in facts.items()])
    if component.options:
        _print_table(components.options_title(kind), components.options(component))
    if document.get("sizes_by_shape"):
        _print_table("size, options at their defaults", components.sizes(document))
    if isinstance(component, Probe):
        _print_table("table", components.measured_columns(component))
    out.print()


def _print_table(title: str, table: Table) -> None:
    console().print()
    print_table(title, table.headings, table.cells())

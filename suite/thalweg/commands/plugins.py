"""``thalweg plugins``."""

from __future__ import annotations

from pathlib import Path

from thalweg.console import print_json, print_table
from thalweg.registry import load_registry


def plugins_command(plugin_files: list[Path], as_json: bool) -> None:
    """Print every plugin, what it registered, and why it failed."""
    registry = load_registry(plugin_files)
    if as_json:
        documents = [
            {
                "name": record.name,
                "version": record.version,
                "origin": record.origin,
                "registered": record.registered,
                "error": record.error,
                "notes": record.notes,
            }
            for record in registry.plugins
        ]
        print_json({"plugins": documents})
        return
    rows = []
    for record in registry.plugins:
        what = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in record.registered.items()) or "nothing"
        what = "; ".join([what, *record.notes])
        rows.append([record.name, record.version, record.origin, f"failed: {record.error}" if record.error else what])
    print_table("plugins", ["name", "version", "origin", "registered"], rows)

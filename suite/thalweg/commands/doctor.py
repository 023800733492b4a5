"""``thalweg doctor``."""

from __future__ import annotations

import os
from pathlib import Path

from thalweg.allocator import allocator
from thalweg.commands.run import cuda_present
from thalweg.console import print_json, print_table
from thalweg.exit_codes import ExitCode
from thalweg.own import cache_folder
from thalweg.registry import load_registry
from thalweg.runner.environment import machine
from thalweg.store.packed_format import is_packed
from thalweg.store.roots import benchmarks_in, refused_in, results_root


def doctor_command(results: Path | None, plugin_files: list[Path], as_json: bool) -> ExitCode:
    """Print what this installation can use; ``FAILED`` if a plugin failed or the results are of no use."""
    registry = load_registry(plugin_files)
    root = results_root(results)
    existing = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    writable = existing.is_dir() and os.access(existing, os.W_OK)
    refused = refused_in(root)
    failures = [{"plugin": record.name, "error": record.error} for record in registry.plugins if record.error]
    document = {
        **machine(),
        "device": "cuda" if cuda_present() else "cpu",
        "allocator": allocator(),
        "results": {"folder": str(root), "writable": writable, "benchmarks": benchmarks_in(root)},
        "data": {"given": os.environ.get("THALWEG_DATA"), "cache": str(cache_folder())},
        "plugin_failures": failures,
    }
    fit = writable or is_packed(root)
    code = ExitCode.DONE if fit and not failures and not refused else ExitCode.FAILED
    if as_json:
        print_json(document)
        return code
    data = document["data"]
    packages = ", ".join(f"{name} {version}" for name, version in document["packages"].items())
    rows = [
        ["thalweg", f"{document['thalweg']} (commit {document['git_commit'] or 'none: installed from a package'})"],
        ["python", f"{document['python']} on {document['platform']}"],
        ["packages", packages],
        ["processor", f"{document['cpu']}, {document['cores']} cores"],
        ["device", document["device"]],
        ["allocator", document["allocator"]],
        ["results", f"{root} ({_use_of(root, writable)})"],
        *[["  damaged", f"{item.path}: {item.reason}"] for item in refused],
        ["benchmarks", ", ".join(document["results"]["benchmarks"]) or "none there yet: type 'thalweg run quick'"],
        ["data", f"{data['given'] or 'THALWEG_DATA is not set'}; downloads go to {data['cache']}"],
        ["plugins", f"{len(registry.plugins)} loaded, {len(failures)} failed"],
        *[[f"  {failure['plugin']}", f"failed: {failure['error']}"] for failure in failures],
    ]
    print_table("", ["", ""], rows)
    return code


def _use_of(root: Path, writable: bool) -> str:
    if is_packed(root):
        return "a packed file, which is only read"
    return "writable" if writable else "NOT writable"

"""Checks every optimizer, trains each on digits-mlp, and writes ``results.json`` and ``TABLE.md``.

    python tools/measure.py kit [NAME ...]       # the kit, each optimizer in a process of its own
    python tools/measure.py digits [NAME ...]    # digits-mlp at the classes' own defaults, seed 0
    python tools/measure.py table                # TABLE.md from results.json

``kit`` and ``digits`` add to ``results.json``, so that they can be stopped and go on.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from thalweg.registry import Registry, load_registry
from thalweg_optimizers.sources import Entry, sources

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results.json"
TABLE = HERE.parent / "TABLE.md"
LIMIT = 300
"""Seconds for the checks of one optimizer."""
PIECE = 12
"""Optimizers that one run trains."""

_WORKLOAD = """
title = "Digits at the defaults"
summary = "every optimizer on digits-mlp at its class's own defaults, one seed"
seeds = 1

[workloads.digits-mlp]
problem = "digits"
architecture = "mlp"
budget = { epochs = 20 }
batch_size = 32
validation_fraction = 0.2
"""


def main() -> None:
    """Do what the command line asks for."""
    what, wanted = sys.argv[1], sys.argv[2:]
    found = read()
    names = [entry.name for entry in entries() if not entry.left_out and (not wanted or entry.name in wanted)]
    if what == "kit":
        _preload(names)
        for name in names:
            if wanted or "kit" not in found.get(name, {}):
                found.setdefault(name, {})["kit"] = _kit(name)
                write(found)
    elif what == "digits":
        left = [name for name in names if wanted or "digits" not in found.get(name, {})]
        for first in range(0, len(left), PIECE):
            for name, row in _digits(left[first : first + PIECE]).items():
                found.setdefault(name, {})["digits"] = row
            write(found)
    TABLE.write_text(table(read()), encoding="utf-8")


def _preload(names: list[str]) -> None:
    """Import torch, the kit and the packages once, before processes are forked."""
    import torch

    from thalweg.testing import checks

    torch.set_num_threads(1)
    _loaded.append(load_registry())
    checks(_loaded[0])
    kept = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # some packages warn when they are imported
    for module in dict.fromkeys(entry.path.partition(":")[0] for entry in entries() if entry.name in names):
        importlib.import_module(module)
    os.dup2(kept, 2)


_loaded: list[Registry] = []


def entries() -> list[Entry]:
    """Every class of every table."""
    return [entry for source in sources() for entry in source.entries]


def read() -> dict[str, Any]:
    """What was measured, by optimizer."""
    return dict(json.loads(RESULTS.read_text(encoding="utf-8"))) if RESULTS.is_file() else {}


def write(found: dict[str, Any]) -> None:
    """Keep the results of classes that are in the tables."""
    known = {entry.name: entry for entry in entries() if not entry.left_out}
    kept = {
        name: {"package": known[name].package, "version": known[name].version}
        | {key: found[name][key] for key in ("kit", "digits") if key in found[name]}
        for name in sorted(found)
        if name in known
    }
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _kit(name: str) -> dict[str, Any]:
    """The checks that pass, what was found where one fails, and why one does not apply."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_check, args=(name, theirs))
    child.start()
    theirs.close()
    passed: list[str] = []
    failed: dict[str, str] = {}
    skipped: dict[str, str] = {}
    running = "begin"
    try:
        while True:
            if not ours.poll(LIMIT):
                failed[running] = f"took longer than {LIMIT} s"
                break
            got = ours.recv()
            if got is None:
                break
            running, status, found = got
            if status == "failed":
                failed[running] = found
            elif status == "skipped":
                skipped[running] = found
            elif status == "passed":
                passed.append(running)
    except EOFError:
        child.join()
        failed[running] = f"its process ended with {child.exitcode}"
    finally:
        child.kill()
        child.join()
    return {"passed": passed, "failed": failed, "skipped": skipped}


def _check(name: str, answers: Any) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    from thalweg.testing import checks

    for check in checks(_loaded[0]):
        if (check.kind, check.name) != ("optimizers", name):
            continue
        answers.send((check.condition.name, None, ""))
        outcome = check.outcome()
        answers.send((check.condition.name, outcome.status, " ".join(outcome.found.split())[:400]))
    answers.send(None)


def _digits(names: list[str]) -> dict[str, dict[str, Any]]:
    """Status, test accuracy and reason of each optimizer."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "digits-defaults.toml"
        file.write_text(_WORKLOAD + "".join(f"[optimizers.{name}]\n" for name in names), encoding="utf-8")
        command = [sys.executable, "-m", "thalweg"]
        words = [str(file), "--results", f"{folder}/results"]
        subprocess.run([*command, "run", *words, "--timeout", "300", "-j", "1", "--quiet"], capture_output=True)
        rows: dict[str, dict[str, Any]] = {}
        for path in Path(folder).rglob("trial.json"):
            document = json.loads(path.read_text(encoding="utf-8"))
            final = document["summary"].get("final", {}).get("test", {})
            rows[document["optimizer"]] = {
                "status": document["status"],
                "accuracy": final.get("accuracy"),
                "reason": document["reason"][:300],
                "seconds": round(document["summary"].get("seconds") or 0.0, 1),
            }
    return {name: rows.get(name, {"status": "failed", "accuracy": None, "reason": "no result", "seconds": 0.0})
            for name in names}  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """The page: a row for each class."""
    ran = sum(row.get("digits", {}).get("status") == "done" for row in found.values())
    whole = sum(bool(row.get("kit")) and not row["kit"]["failed"] for row in found.values())
    count = sum(not entry.left_out for entry in entries())
    lines = [
        "# Every optimizer of thalweg-optimizers",
        "",
        "Generated by `python tools/measure.py`, from `results.json`. *Kit* says how many checks of thalweg's",
        "conformance kit a class passes among the checks that apply to the class, and names each failed check.",
        "*digits-mlp* is the test accuracy after 20 epochs at the class's own defaults, seed 0, untuned: it tells that",
        "the class runs, and not how good the method is.",
        "",
        f"{count} classes are registered; {ran} run on digits-mlp to the end; {whole} pass every check.",
    ]
    for source in sources():
        lines += ["", f"## {source.package} {source.version}", ""]
        lines += ["| optimizer | conventions | kit | digits-mlp |", "| --- | --- | --- | --- |"]
        lines += [_row(entry, found.get(entry.name, {})) for entry in source.entries if not entry.left_out]
        out = [entry for entry in source.entries if entry.left_out]
        if out:
            lines += ["", "Left out:", ""]
            lines += [f"- `{entry.path.partition(':')[2]}`: {entry.left_out}" for entry in out]
    return "\n".join(lines) + "\n"


def _row(entry: Entry, row: dict[str, Any]) -> str:
    kit, digits = row.get("kit"), row.get("digits")
    checks = "not checked"
    if kit:
        checks = f"{len(kit['passed'])} of {len(kit['passed']) + len(kit['failed'])}"
        checks += "".join(f"; fails {name}" for name in kit["failed"])
    ran = "not run"
    if digits:
        reason = f": {_cell(digits['reason'])}" if digits["reason"] else ""
        ran = f"{100 * digits['accuracy']:.1f}%" if digits["status"] == "done" else digits["status"] + reason
    return f"| `{entry.name}` | {_cell(conventions(entry))} | {checks} | {ran} |"


def conventions(entry: Entry) -> str:
    """What the table says of a class, in words."""
    told = entry.signature.get("conventions", {})
    words = []
    if told.get("closure"):
        words.append("closure" + (" and gradients" if told["closure"] == "with gradients" else ""))
    if told.get("create_graph"):
        words.append("graph")
    if told.get("modes"):
        words.append("train() and eval()")
    if entry.groups:
        words.append(f"groups: {entry.groups}")
    if entry.search:
        words.append("lr is a factor")
    if not entry.signature.get("has_lr", True):
        words.append("no lr")
    if entry.eager:
        words.append("not compiled")
    if entry.note:
        words.append(entry.note)
    return ", ".join(words) or "plain gradients"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    main()

"""Reads hyperparameters and conventions of every class, and writes ``thalweg_optimizers/signatures.json``.

    python tools/signatures.py [NAME ...]

The classes of a package are looked at in a process of their own. Classes that cannot be built, or make no steps under
any convention, are printed; their tables should say why they are left out.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import sys
from typing import Any

from thalweg import Optimizer
from thalweg_optimizers.sources import SIGNATURES, Entry, sources

LIMIT = 300
"""Seconds for one class."""


def main() -> None:
    """Look at the classes that are named, or at all."""
    known = json.loads(SIGNATURES.read_text(encoding="utf-8")) if SIGNATURES.is_file() else {}
    there = {entry.name: entry for source in sources() for entry in source.entries if not entry.left_out}
    wanted = sys.argv[1:]
    for source in sources():
        left = [entry for entry in source.entries if entry.name in there and (not wanted or entry.name in wanted)]
        while left:
            left = _some(left, known)
        kept = {name: known[name] for name in sorted(known) if name in there}
        SIGNATURES.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(kept)} of {len(there)} classes have a signature")


def _some(entries: list[Entry], known: dict[str, Any]) -> list[Entry]:
    """Ask one process about classes of one package; gives those that are left after it ended early."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_send, args=(entries, theirs))
    child.start()
    theirs.close()
    try:
        for index, entry in enumerate(entries):
            goes_on = ours.poll(LIMIT)
            try:
                got = ours.recv() if goes_on else f"took longer than {LIMIT} s"
            except EOFError:
                child.join()
                got, goes_on = f"its process ended with {child.exitcode}", False
            known.pop(entry.name, None)
            if isinstance(got, str):
                print(f"{entry.name}: {got}", flush=True)
            else:
                known[entry.name] = got
            if not goes_on:
                return entries[index + 1 :]
        return []
    finally:
        child.kill()
        child.join()


def _send(entries: list[Entry], answers: Any) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    import torch

    from thalweg.training.contained import contained

    torch.set_num_threads(1)
    for entry in entries:
        try:
            with contained(threads=1):
                answers.send(signature(entry))
        except Exception as error:
            answers.send(" ".join(f"{type(error).__name__}: {error}".split())[:300])


def signature(entry: Entry) -> dict[str, Any]:
    """All that ``Foreign`` needs of a class without importing it."""
    from thalweg.training.finding import find_conventions
    from thalweg_optimizers.eager import eagerly
    from thalweg_optimizers.foreign import wrap

    optimizer = wrap(entry, {})
    with eagerly():
        found = find_conventions(optimizer)
    conventions = {"closure": False, "create_graph": False} | dict(optimizer.conventions) | found
    if "modes" in optimizer.open_conventions:
        conventions.setdefault("modes", True)
    return {
        "summary": optimizer.summary,
        "has_lr": optimizer.has_lr,
        "revision": 1,
        "conventions": conventions,
        "options": options_of(optimizer),
    }


def options_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """The hyperparameters as the table keeps them."""
    return [
        {
            "name": option.name,
            "default": _plain(option.default),
            "number": isinstance(option.default, float),
            "allowed": list(option.allowed) if isinstance(option.allowed, tuple) else option.allowed,
            "real": option.real,
            "search": [option.search.low, option.search.high] if option.search else None,
        }
        for option in optimizer.options
    ]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    main()

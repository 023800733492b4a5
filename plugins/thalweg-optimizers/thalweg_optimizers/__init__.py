"""The optimizers of other packages, as optimizers of thalweg."""

from __future__ import annotations

import thalweg
from thalweg.hookspecs import Register
from thalweg_optimizers.foreign import Foreign
from thalweg_optimizers.sources import benchmark, missing, sources


@thalweg.hookimpl
def thalweg_register_optimizers(register: Register) -> None:
    """Register the classes of every package that is installed in the version of its table."""
    absent = []
    for source in sources():
        if reason := missing(source):
            absent.append(reason)
            for entry in source.entries:
                register.absent(entry.name, reason)
            continue
        for entry in source.entries:
            if entry.left_out:
                register.absent(entry.name, f"the class {entry.left_out}")
            else:
                register(Foreign(entry))
    if absent:
        register.note("; ".join(absent))


@thalweg.hookimpl
def thalweg_register_benchmarks(register: Register) -> None:
    """Register the benchmark ``optimizers``, where all its optimizers are installed."""
    lacking = [source.package for source in sources() if missing(source)]
    if lacking:
        which = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        reason = f"it needs every package, and lacks {which}: pip install 'thalweg-optimizers[all]'"
        register.absent("optimizers", reason)
    else:
        register(benchmark())

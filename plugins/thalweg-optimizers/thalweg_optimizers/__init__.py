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
            continue
        for entry in source.entries:
            if not entry.left_out:
                register(Foreign(entry))
    if absent:
        register.note("; ".join(absent))


@thalweg.hookimpl
def thalweg_register_benchmarks(register: Register) -> None:
    """Register the benchmark ``optimizers``, where all its optimizers are installed."""
    if not any(missing(source) for source in sources()):
        register(benchmark())

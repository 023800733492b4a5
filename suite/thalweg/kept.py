"""Benchmarks by name, and the benchmark's file that is kept with its results."""

from __future__ import annotations

from pathlib import Path

from thalweg import guard
from thalweg.benchmark_file import NAME, NAMING, parse
from thalweg.errors import UserError
from thalweg.expand import Benchmark, load_benchmark
from thalweg.registry import Registry
from thalweg.shown import cut
from thalweg.store.packed_format import SUFFIX, is_packed
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import benchmarks_in


def find_benchmark(name: str, registry: Registry, root: Path) -> Benchmark:
    """The benchmark of a name: a file (ending in ``.toml``), a registered benchmark, or one whose results are here.

    Args:
        name: the name or the path.
        registry: where the registered benchmarks are.
        root: the results. They have a copy of the file of each benchmark that made them.

    Raises:
        UserError: there is no such benchmark, or ``root`` is the packed file of another one.
    """
    registered = {entry.name for entry in registry.entries("benchmarks")}
    if not name.endswith(".toml") and name not in registered and name in benchmarks_in(root):
        return kept_benchmark(BenchmarkResults(root, name))
    benchmark = load_benchmark(name, registry)
    if is_packed(root) and root.name != benchmark.name + SUFFIX:
        holds = root.name.removesuffix(SUFFIX)
        raise UserError(f"{root}: by its name it holds the results of {holds!r}, and not those of {benchmark.name!r}")
    return benchmark


def kept_benchmark(results: BenchmarkResults) -> Benchmark:
    """Read and check the benchmark's file; UserError where it is missing, damaged or no benchmark."""
    path = results.path / "benchmark.toml"
    try:
        text = results.files.read(path.name, guard.TEXT).decode("utf-8").removeprefix("\ufeff")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UserError(f"{cut(str(path), 300)}: cannot be read: {reason}") from error
    if not NAME.fullmatch(results.name):
        raise UserError(f"{path.name}: the file's name {NAMING}")
    return Benchmark(results.name, path, text, parse(text, path.name))

"""The benchmark's file that is kept with its results."""

from __future__ import annotations

from thalweg import guard
from thalweg.benchmark_file import NAME, NAMING, parse
from thalweg.errors import UserError
from thalweg.expand import Benchmark
from thalweg.shown import cut
from thalweg.store.results import BenchmarkResults


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

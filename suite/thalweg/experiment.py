"""Experiments of claims as benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from thalweg.benchmark_file import NAME, NAMING, BenchmarkFile, explain
from thalweg.contracts.claim import Experiment
from thalweg.errors import UserError
from thalweg.expand import Benchmark
from thalweg.shown import brief


def benchmark_of(experiment: Experiment) -> Benchmark:
    """The experiment as a benchmark.

    Raises:
        UserError: its content is no benchmark.
    """
    where = f"experiment {experiment.name!r}"
    if not NAME.fullmatch(experiment.name):
        raise UserError(f"experiment: the name {brief(experiment.name)} {NAMING}")
    try:
        spec = BenchmarkFile.model_validate(_lists_as_tuples(experiment.content))
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error)}") from error
    return Benchmark(experiment.name, Path(f"{experiment.name}.toml"), "", spec)


def _lists_as_tuples(value: Any) -> Any:
    """The content as TOML's reader would give it."""
    if isinstance(value, Mapping):
        return {key: _lists_as_tuples(one) for key, one in value.items()}
    return [_lists_as_tuples(one) for one in value] if isinstance(value, list | tuple) else value

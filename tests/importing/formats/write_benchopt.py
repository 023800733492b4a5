"""The parquet file of a benchopt run, of the benchmark in the folder benchmark."""

from __future__ import annotations

from pathlib import Path

from benchopt import run_benchmark
from logged import output

BENCHMARK = Path(__file__).resolve().parent / "benchmark"


def main() -> None:
    folder = output().resolve()
    run_benchmark(str(BENCHMARK), max_runs=10, plot_result=False, output_file=str(folder / "digits.parquet"))


if __name__ == "__main__":
    main()

"""Writes a results folder of many trials, without training, in the format of a real benchmark's results.

    $ python tests/benchmarks/many_trials.py FOLDER [TRIALS]

``FOLDER/many.toml`` is the benchmark and ``FOLDER/results`` its results: workloads x optimizers x seeds, whose hashes
are those that ``thalweg run FOLDER/many.toml`` looks for. The numbers in the curves are made up.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import sys
from pathlib import Path

from thalweg.expand import read_benchmark
from thalweg.plan import PlannedTrial
from thalweg.registry import load_registry
from thalweg.store.curve import curve_table
from thalweg.store.documents import TrialDocument
from thalweg.store.tables import write_table
from thalweg.store.writing import ResultsFolder

WORKLOADS, OPTIMIZERS = 10, 20
EVALUATIONS = 10
CURVES = 2
"""Different curves of one workload and optimizer; further seeds repeat these curves."""


def benchmark_text(trials: int, workloads: int = WORKLOADS, optimizers: int = OPTIMIZERS) -> str:
    """The benchmark's file."""
    lines = ['title = "Many trials"', f"seeds = {max(1, trials // (workloads * optimizers))}"]
    for i in range(workloads):
        lines += [
            f"[workloads.digits-{i:02}]",
            'problem = "digits"',
            f'architecture = {{ name = "mlp", widths = [{8 + i}] }}',
            f"budget = {{ epochs = {EVALUATIONS} }}",
            "batch_size = 32",
            "validation_fraction = 0.2",
            'target = { metric = "accuracy", value = 0.9 }',
        ]
    for i in range(optimizers):
        name = ("sgd", "adam", "momentum", "rmsprop")[i % 4]
        lines += [f"[optimizers.{name}-{i:02}]", f'optimizer = "{name}"', f"lr = {0.001 * (i + 1):g}"]
    return "\n".join(lines) + "\n"


def write_many(folder: Path, trials: int, workloads: int = WORKLOADS, optimizers: int = OPTIMIZERS) -> Path:
    """Write the benchmark and its results, and return the benchmark's file."""
    path = folder / "many.toml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(benchmark_text(trials, workloads, optimizers), encoding="utf-8")
    benchmark = read_benchmark(path)
    results = ResultsFolder(folder / "results", benchmark.name)
    results.write_benchmark(benchmark.text)
    results.trials.mkdir(parents=True)
    curves: dict[tuple[str, str], list[bytes]] = {}
    for planned in benchmark.expand(load_registry()).trials:
        key = (planned.workload, planned.optimizer)
        if key not in curves:
            curves[key] = [
                _curve(folder / "curve.parquet", *key, number) for number in range(min(CURVES, benchmark.spec.seeds))
            ]
        _write(results, planned, curves[key][planned.trial.seed % len(curves[key])])
    (folder / "curve.parquet").unlink()
    return path


def _write(results: ResultsFolder, planned: PlannedTrial, curve: bytes) -> None:
    trial = planned.trial
    document = TrialDocument(
        hash=trial.hash,
        workload=planned.workload,
        optimizer=planned.optimizer,
        trial=trial,
        status="done",
        environment={"packages": {"torch": "2.13.0"}, "device": "cpu", "cpu": "Some CPU", "cores": 2, "threads": 1},
        summary={"final": {"test": {"accuracy": 0.9, "loss": 0.3}}, "step": 450, "seconds": 0.5, "state_bytes": 4096},
        files={"curve.parquet": hashlib.sha256(curve).hexdigest()},
    )
    place = results.trials / f"{planned.workload}--{trial.optimizer.name}--{trial.hash}"
    place.mkdir()
    (place / "curve.parquet").write_bytes(curve)
    (place / "trial.json").write_text(document.to_json(), encoding="utf-8")


def _curve(path: Path, workload: str, optimizer: str, number: int) -> bytes:
    draw = random.Random(json.dumps([workload, optimizer, number]))
    rate = draw.uniform(0.2, 0.8)
    rows = []
    for i in range(EVALUATIONS + 1):
        spent = {
            "step": 45 * i,
            "epoch": float(i),
            "examples": 1437 * i,
            "gradient_evaluations": 45 * i,
            "curvature_products": 0,
            "factor_inversions": 0,
            "work": 1437.0 * i,
            "seconds": 0.05 * i * draw.uniform(0.9, 1.1),
        }
        for split in ("train", "valid", *(["test"] if i == EVALUATIONS else [])):
            loss = 2.3 * math.exp(-rate * i) + draw.uniform(0, 0.05)
            values = {"accuracy": math.exp(-loss), "loss": loss}
            rows += [{**spent, "split": split, "metric": name, "value": value} for name, value in values.items()]
    write_table(curve_table(rows), path)
    return path.read_bytes()


if __name__ == "__main__":
    write_many(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2000)

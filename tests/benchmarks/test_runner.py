"""Times of the training loop, the runner and its executors, against equal work by hand or one trial at a time."""

from __future__ import annotations

import copy
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmarks.many_trials import write_many
from probing import ref
from thalweg.contracts.budget import Budget
from thalweg.plan import PlannedTrial
from thalweg.registry import Registry
from thalweg.runner.work import Job, train_and_save, use_registry
from thalweg.training.alone import Training
from thalweg.training.assembly import Assembly, assemble
from thalweg.training.trained import Trained
from thalweg.trial import Trial
from timing import KEPT, ratio

PAIRS = 11


def trial(optimizer: str = "adam", epochs: int = 5, seed: int = 0) -> Trial:
    return Trial(
        problem=ref("digits"),
        architecture=ref("mlp"),
        optimizer=ref(optimizer),
        budget=Budget(epochs=epochs),
        batch_size=32,
        validation_fraction=0.2,
        seed=seed,
    )


def by_hand(it: Assembly) -> list[tuple[float, float]]:
    """A loop as one writes it: shuffled batches, train and valid evaluated, the best weights tested."""
    data: Any = it.problem
    (x, y), (xv, yv), (xt, yt) = (data.data[split] for split in ("train", "valid", "test"))
    x, xv, xt = (data.prepared(each) for each in (x, xv, xt))
    module = it.module
    optimizers: dict[str, Any] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    optimizer = optimizers[it.trial.optimizer.name](module.parameters(), lr=it.hyperparameters["lr"], fused=True)
    history, best, best_weights = [], -1.0, None

    @torch.no_grad()
    def evaluate(x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
        module.eval()
        outputs = module(x)
        found = cross_entropy(outputs, y).item(), (outputs.argmax(1) == y).double().mean().item()
        module.train()
        return found

    def look() -> None:
        nonlocal best, best_weights
        history.append(evaluate(x, y))
        history.append(evaluate(xv, yv))
        if history[-1][1] > best:
            best, best_weights = history[-1][1], copy.deepcopy(module.state_dict())

    look()
    for _ in range(it.trial.budget.epochs or 0):
        order = torch.randperm(len(x))
        for start in range(0, len(x) // 32 * 32, 32):
            rows = order[start : start + 32]
            optimizer.zero_grad()
            loss = cross_entropy(module(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            assert loss.item() < 1e6
        look()
    assert best_weights is not None
    module.load_state_dict(best_weights)
    history.append(evaluate(xt, yt))
    return history


@pytest.mark.benchmark(group="the whole loop against one by hand")
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_whole_loop(benchmark: Any, registry: Registry, optimizer: str) -> None:
    """Data, steps, evaluations, selection and the curve: digits-mlp of ``cpu``, with its 20 epochs."""
    parts: list[Assembly] = []

    def ours() -> Trained:
        return Training(parts.pop(), [], lambda *_: None).run()

    def theirs() -> list[tuple[float, float]]:
        return by_hand(parts.pop())

    def prepared() -> None:
        parts[:] = [assemble(trial(optimizer, 20 if KEPT else 2), registry) for _ in range(2)]

    prepared()
    trained, history = ours(), theirs()
    evaluated = trained.curve[trained.curve["metric"] == "loss"]
    assert len(evaluated) == len(history)
    assert evaluated["value"].iloc[0] == pytest.approx(history[0][0], rel=1e-5)
    # other batches, but the same number of them
    assert 0.5 < evaluated["value"].iloc[-1] / history[-1][0] < 2
    ratios = []
    for _ in range(PAIRS if KEPT else 1):
        prepared()
        ratios.append(ratio(ours, theirs, 1))
    benchmark.extra_info["ratio"] = round(median(ratios), 4)
    prepared()
    benchmark.pedantic(ours, rounds=1)


@pytest.mark.benchmark(group="what saving a trial costs beside training it")
def test_overhead_of_a_trial(
    benchmark: Any, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time from the executor to the disk, without assembling the trial's parts and without training."""
    use_registry(registry)
    inside: list[float] = []

    def timed(function: Any) -> Any:
        def run(*args: Any) -> Any:
            started = time.perf_counter()
            result = function(*args)
            inside[-1] += time.perf_counter() - started
            return result

        return run

    monkeypatch.setattr(Training, "run", timed(Training.run))
    monkeypatch.setattr("thalweg.training.assembly.assemble", timed(assemble))
    overheads = []

    def save(seed: int) -> None:
        inside.append(0.0)
        planned = PlannedTrial("digits-mlp", "sgd", trial("sgd", 1, seed), (), None)
        started = time.perf_counter()
        assert train_and_save(Job(planned, tmp_path, "mine"), lambda *_: None).status == "done"
        overheads.append(time.perf_counter() - started - inside[-1])

    for seed in range(30 if KEPT else 3):
        save(seed)
    benchmark.extra_info["milliseconds"] = round(1e3 * median(overheads[1:]), 2)
    benchmark.extra_info["ratio"] = round(median(overheads[1:]) / median(inside[1:]), 4)
    benchmark.pedantic(save, (99,), rounds=1)


def command(*words: str, folder: Path) -> float:
    started = time.perf_counter()
    line = [sys.executable, "-c", "from thalweg.cli import main; main()", *words]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - started


@pytest.mark.benchmark(group="a run in which everything is done")
def test_a_cached_run_of_a_thousand_trials(benchmark: Any, tmp_path: Path) -> None:
    """Against this command on a benchmark of one trial, whose time is mostly imports."""
    for name, trials, grid in (("many", 1000 if KEPT else 100, (10, 20)), ("one", 1, (1, 1))):
        write_many(tmp_path / name, trials, *grid)

    def run(name: str) -> float:
        return command("run", "many.toml", "--results", "results", "--json", folder=tmp_path / name)

    for name in ("many", "one"):
        run(name)
    pairs = [(run("many"), run("one")) for _ in range(7 if KEPT else 1)]
    benchmark.extra_info["seconds"] = round(median(many - one for many, one in pairs), 3)
    benchmark.extra_info["ratio"] = round(median(many / one for many, one in pairs), 4)
    benchmark.pedantic(run, ("many",), rounds=1)


SMALLER = """
seeds = SEEDS
[workloads.digits-mlp]
problem = "digits"
architecture = "mlp"
budget = { epochs = EPOCHS }
batch_size = 32
validation_fraction = 0.2
[workloads.mnist1d-mlp]
problem = "mnist1d"
architecture = { name = "mlp", widths = [128, 128] }
budget = { epochs = EPOCHS }
batch_size = 64
validation_fraction = 0.2
[optimizers.sgd]
[optimizers.momentum]
[optimizers.adagrad]
[optimizers.rmsprop]
[optimizers.adam]
"""
"""The two smaller workloads of ``cpu`` and its five optimizers."""


@pytest.mark.benchmark(group="two workers against one process")
def test_two_workers(benchmark: Any, tmp_path: Path) -> None:
    """Commands as users give them, imports and start of the workers included; no batching on either side."""
    text = SMALLER.replace("SEEDS", "3" if KEPT else "1").replace("EPOCHS", "20" if KEPT else "1")
    only = () if KEPT else ("--only", "workload=digits-mlp", "--only", "optimizer=sgd,adam")
    (tmp_path / "smaller.toml").write_text(text, encoding="utf-8")

    def run(*words: str) -> float:
        return command("run", "smaller.toml", "--fresh", "--no-batching", "--json", *only, *words, folder=tmp_path)

    ratios = [run("-j", "2") / run() for _ in range(3 if KEPT else 1)]
    benchmark.extra_info["ratio"] = round(median(ratios), 4)
    benchmark.pedantic(run, ("-j", "2"), rounds=1)

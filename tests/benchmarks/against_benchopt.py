"""Times one grid as a benchopt benchmark and as ours, by whole commands in alternating pairs. Needs ``benchopt``.

    $ python tests/benchmarks/against_benchopt.py [PAIRS]

Digits, mlp 64-64-64-10, batches of 32, 10 epochs, SGD and Adam, five seeds. benchopt's solvers are the torch loop that
one writes by hand; both sides evaluate loss and accuracy on train and valid before the first epoch and after each, and
neither draws anything. One process, one thread, caches off.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

SEEDS, EPOCHS = 5, 10

OBJECTIVE = """
import torch
from benchopt import BaseObjective
from torch.nn.functional import cross_entropy


class Objective(BaseObjective):
    name = "digits"
    min_benchopt_version = "1.5"

    def set_data(self, train, valid):
        self.splits = {"train": train, "valid": valid}

    def get_objective(self):
        return {"train": self.splits["train"]}

    @torch.no_grad()
    def evaluate_result(self, module):
        found = {}
        module.eval()
        for split, (x, y) in self.splits.items():
            outputs = module(x)
            found[f"{split}_loss"] = cross_entropy(outputs, y).item()
            found[f"{split}_accuracy"] = (outputs.argmax(1) == y).double().mean().item()
        module.train()
        return found | {"value": found["train_loss"]}

    def get_one_result(self):
        return {"module": torch.nn.Linear(64, 10)}
"""

DATASET = """
import torch
from benchopt import BaseDataset
from sklearn.datasets import load_digits


class Dataset(BaseDataset):
    name = "digits"

    def get_data(self):
        digits = load_digits()
        x = torch.tensor(digits.data, dtype=torch.float32) / 16
        y = torch.tensor(digits.target)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        # as many examples as ours: a fifth for the test, a fifth of the rest for validation
        train, valid = order[:TRAIN], order[TRAIN : TRAIN + VALID]
        return {"train": (x[train], y[train]), "valid": (x[valid], y[valid])}
"""

SOLVER = """
import torch
from benchopt import BaseSolver
from benchopt.stopping_criterion import NoCriterion
from torch import nn
from torch.nn.functional import cross_entropy

torch.set_num_threads(1)


class Solver(BaseSolver):
    name = "NAME"
    sampling_strategy = "callback"
    stopping_criterion = NoCriterion()

    def set_objective(self, train):
        self.x, self.y = train

    def get_next(self, stop_val):
        return stop_val + 1

    def run(self, callback):
        layers = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)]
        self.module = nn.Sequential(*layers)
        optimizer = torch.optim.CLASS(self.module.parameters(), lr=RATE, fused=True)
        while callback():
            order = torch.randperm(len(self.x))
            for start in range(0, len(self.x) // 32 * 32, 32):
                rows = order[start : start + 32]
                optimizer.zero_grad()
                loss = cross_entropy(self.module(self.x[rows]), self.y[rows])
                loss.backward()
                optimizer.step()
                assert loss.item() < 1e6

    def get_result(self):
        return {"module": self.module}
"""

OURS = f"""
seeds = {SEEDS}
[workloads.digits]
problem = "digits"
architecture = "mlp"
budget = {{ epochs = {EPOCHS} }}
batch_size = 32
validation_fraction = 0.2
[optimizers.sgd]
lr = 0.1
[optimizers.adam]
lr = 0.001
"""


def write(folder: Path) -> None:
    """Both benchmarks."""
    from thalweg.registry import load_registry

    sizes = load_registry().problem("digits").sizes({"layout": "flat"})
    valid = round(0.2 * sizes["train"])
    (folder / "ours.toml").write_text(OURS, encoding="utf-8")
    theirs = folder / "theirs"
    for part in ("datasets", "solvers"):
        (theirs / part).mkdir(parents=True)
    (theirs / "objective.py").write_text(OBJECTIVE, encoding="utf-8")
    dataset = DATASET.replace("TRAIN", str(sizes["train"] - valid)).replace("VALID", str(valid))
    (theirs / "datasets" / "digits.py").write_text(dataset, encoding="utf-8")
    for name, rate in (("SGD", "0.1"), ("Adam", "0.001")):
        solver = SOLVER.replace("NAME", name.lower()).replace("CLASS", name).replace("RATE", rate)
        (theirs / "solvers" / f"{name.lower()}.py").write_text(solver, encoding="utf-8")


def timed(words: list[str], folder: Path) -> float:
    """The seconds of a command; AssertionError with its output where the command fails."""
    started = time.perf_counter()
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return time.perf_counter() - started


def main(pairs: int) -> None:
    """Print the seconds of each side and the ratio of each pair."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        run = [sys.executable, "-c", "from thalweg.cli import main; main()", "run", "ours.toml", "--fresh", "--json"]
        benchopt = [sys.executable, "-m", "benchopt", "run", "theirs", "-n", str(EPOCHS), "-r", str(SEEDS),
                    "--no-cache", "--no-plot", "--no-html", "--no-display", "--timeout", "600"]  # fmt: skip
        sides = {"batched": run, "one at a time": [*run, "--no-batching"], "benchopt": benchopt}
        times: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(pairs + 1):
            for side, words in sides.items():
                times[side].append(timed(words, folder))
        for side, seconds in times.items():
            ratios = [ours / theirs for ours, theirs in zip(seconds[1:], times["benchopt"][1:], strict=True)]
            print(f"{side}: {median(seconds[1:]):.2f} s, ratio {median(ratios):.2f}")  # noqa: T201
        results = sorted((folder / "theirs" / "outputs").glob("*.parquet"))
        if results:
            import pandas as pd

            table = pd.read_parquet(results[-1])
            print(table.groupby("solver_name").size().to_dict(), "evaluations kept by benchopt")  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)

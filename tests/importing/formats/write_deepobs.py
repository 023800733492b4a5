"""The JSON files of DeepOBS's runner for torch, of a test problem whose losses are those of a run."""

from __future__ import annotations

import importlib.util
import sys
import types

import torch
from logged import EPOCH, Run, output, runs

# DeepOBS imports its half for TensorFlow 1 first, which no Python of today can; its half for torch works without
package = types.ModuleType("deepobs")
package.__path__ = importlib.util.find_spec("deepobs").submodule_search_locations
sys.modules["deepobs"] = package

from deepobs.pytorch.runners import StandardRunner  # noqa: E402
from deepobs.pytorch.testproblems.testproblem import TestProblem  # noqa: E402

OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


class digits(TestProblem):  # noqa: N801
    """The runner takes the class that has the name of its module; it evaluates first before any step."""

    run: Run

    def set_up(self) -> None:
        self.net, self.epoch, self.left = torch.nn.Linear(1, 1), 0, 0

    def get_regularization_groups(self) -> dict[float, list[str]]:
        return {}

    def start(self) -> None:
        self.left = EPOCH

    train_eval_init_op = valid_init_op = test_init_op = start

    def train_init_op(self) -> None:
        self.epoch += 1
        self.start()

    def get_batch_loss_and_accuracy(self) -> tuple[torch.Tensor, float]:
        if self.left == 0:
            raise StopIteration
        self.left -= 1
        loss, accuracy = ([1.0, *self.run.loss], [0.1, *self.run.accuracy])
        return 0 * self.net.weight.sum() + loss[self.epoch], accuracy[self.epoch]


def main() -> None:
    folder = output()
    sys.modules["digits"] = sys.modules["__main__"]
    arguments = sys.argv[:1]
    for run in runs():
        digits.run, sys.argv = run, arguments
        runner = StandardRunner(OPTIMIZERS[run.optimizer], {"lr": {"type": float}})
        runner.run(
            testproblem="digits",
            hyperparams={"lr": run.lr},
            batch_size=1,
            num_epochs=len(run.loss),
            random_seed=run.seed,
            output_dir=str(folder / "results"),
        )


if __name__ == "__main__":
    main()

"""The history.json of skorch, written after ten epochs of ten batches each."""

from __future__ import annotations

import numpy as np
import torch
from logged import EPOCH, Run, output, runs
from skorch import NeuralNetClassifier
from skorch.callbacks import EpochScoring
from skorch.dataset import Dataset
from skorch.helper import predefined_split

OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


class Curve(NeuralNetClassifier):
    """A classifier whose loss is that of a run."""

    run: Run

    def get_loss(self, y_pred, y_true, X=None, training=False):  # noqa: N803
        return 0 * y_pred.sum() + self.run.loss[len(self.history) - 1]


def accuracy(net: Curve, data: object, labels: object) -> float:
    """The accuracy of the run in place of that of the predictions."""
    return net.run.accuracy[len(net.history) - 1]


def main() -> None:
    folder = output()
    data, labels = np.zeros((EPOCH, 1), "float32"), np.arange(EPOCH) % 2
    for run in runs():
        (folder / run.name).mkdir()
        torch.manual_seed(run.seed)
        net = Curve(
            torch.nn.Linear(1, 2),
            criterion=torch.nn.CrossEntropyLoss,
            optimizer=OPTIMIZERS[run.optimizer],
            lr=run.lr,
            batch_size=1,
            max_epochs=len(run.loss),
            train_split=predefined_split(Dataset(data, labels)),
            callbacks=[EpochScoring(accuracy, lower_is_better=False, name="valid_acc")],
            callbacks__valid_acc=None,
            verbose=0,
        )
        net.run = run
        net.fit(data, labels)
        net.save_params(f_history=folder / run.name / "history.json")


if __name__ == "__main__":
    main()

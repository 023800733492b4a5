"""Keras's CSVLogger, written by ten epochs of fit with ten batches each, on the backend torch."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
from logged import EPOCH, Run, output, runs


class Epoch(keras.callbacks.Callback):
    """Tells the model which epoch it is in, and whether it trains."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.model.epoch, self.model.validates = epoch, False

    def on_test_begin(self, logs: dict | None = None) -> None:
        self.model.validates = True


class Curve(keras.Model):
    """A model whose loss and accuracy are those of a run; its accuracy on the training data is half of the other."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.dense, self.run = keras.layers.Dense(1), run
        self.epoch, self.validates = 0, False

    def call(self, inputs: object) -> object:
        return self.dense(inputs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.sum(0 * y_pred) + self.run.loss[self.epoch]

    def accuracy(self, y: object, y_pred: object) -> object:
        value = self.run.accuracy[self.epoch] / (1 if self.validates else 2)
        return keras.ops.ones_like(y_pred) * value


def main() -> None:
    folder = output()
    data = np.zeros((EPOCH, 1), "float32")
    for run in runs():
        keras.utils.set_random_seed(run.seed)
        (folder / run.name).mkdir()
        model = Curve(run)
        optimizer = keras.optimizers.get({"class_name": run.optimizer, "config": {"learning_rate": run.lr}})
        model.compile(optimizer=optimizer, metrics=[keras.metrics.MeanMetricWrapper(model.accuracy, name="accuracy")])
        callbacks = [Epoch(), keras.callbacks.CSVLogger(folder / run.name / "training.log")]
        rows = {"batch_size": 1, "epochs": len(run.loss), "shuffle": False, "verbose": 0}
        model.fit(data, data, validation_data=(data, data), callbacks=callbacks, **rows)


if __name__ == "__main__":
    main()

"""What the benchmark of write_benchopt.py measures: the loss and the accuracy that a solver reports."""

from __future__ import annotations

from benchopt import BaseObjective


class Objective(BaseObjective):
    """Smaller training loss is better."""

    name = "Classification"
    sampling_strategy = "callback"

    def set_data(self, name):
        self.data = name

    def get_objective(self):
        return {"name": self.data}

    def evaluate_result(self, loss, accuracy):
        return {"value": loss, "accuracy": accuracy}

    def get_one_result(self):
        return {"loss": 1.0, "accuracy": 0.1}

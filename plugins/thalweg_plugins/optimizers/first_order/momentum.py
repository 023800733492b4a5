"""Gradient descent with heavy-ball and with Nesterov momentum."""

from collections.abc import Mapping
from typing import Any

from thalweg import Hyperparameter
from thalweg_plugins.optimizers.declared import Declared
from thalweg_plugins.optimizers.options import lr, weight_decay


class Momentum(Declared):
    """v <- momentum v + g; w <- w - lr v."""

    name = "momentum"
    summary = "gradient descent with heavy-ball momentum"
    equation = "v <- momentum v + g;  w <- w - lr v"
    source = "Polyak 1964; torch.optim.SGD"
    cost = "1 gradient evaluation; 1 number of state per parameter"
    torch_name = "SGD"
    options = (
        lr(0.05),
        Hyperparameter("momentum", 0.9, "[0, 1)", "share of the last step's velocity that is kept"),
        weight_decay(),
    )


class Nesterov(Momentum):
    """v <- momentum v + g; w <- w - lr (g + momentum v)."""

    name = "nesterov"
    summary = "gradient descent with Nesterov momentum"
    equation = "v <- momentum v + g;  w <- w - lr (g + momentum v)"
    source = "Nesterov 1983 in the form of Sutskever et al. 2013; torch.optim.SGD"
    options = (
        lr(0.05),
        Hyperparameter("momentum", 0.9, "(0, 1)", "share of the last step's velocity that is kept"),
        weight_decay(),
    )

    def arguments(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of torch's SGD, with its switch ``nesterov``."""
        return {**hyperparameters, "nesterov": True}

"""Adam."""

from collections.abc import Mapping
from typing import Any

from thalweg import Hyperparameter
from thalweg_plugins.optimizers.declared import Declared
from thalweg_plugins.optimizers.options import lr, weight_decay


class Adam(Declared):
    """m, v: running means of g and g^2, bias-corrected; w <- w - lr m / (sqrt(v) + eps)."""

    name = "adam"
    summary = "running means of the gradient and of its square, bias-corrected"
    equation = (
        "m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;  "
        "w <- w - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)"
    )
    source = "Kingma & Ba 2015, algorithm 1; torch.optim.Adam"
    cost = "1 gradient evaluation; 2 numbers of state per parameter"
    torch_name = "Adam"
    options: tuple[Hyperparameter, ...] = (
        lr(1e-3, 1e-5, 0.1),
        Hyperparameter("beta1", 0.9, "[0, 1)", "decay rate of the mean of gradients"),
        Hyperparameter("beta2", 0.999, "[0, 1)", "decay rate of the mean of squared gradients"),
        Hyperparameter("eps", 1e-8, "[0, inf)", "added to the root"),
        weight_decay(),
    )

    def arguments(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """Torch takes the two decay rates as a pair."""
        arguments = dict(hyperparameters)
        arguments["betas"] = (arguments.pop("beta1"), arguments.pop("beta2"))
        return arguments

"""AMSGrad in torch's form."""

from collections.abc import Mapping
from typing import Any

from thalweg_plugins.optimizers.first_order.adam import Adam
from thalweg_plugins.optimizers.options import beta1, beta2, eps, lr, weight_decay


class AMSGrad(Adam):
    """Adam that divides by the root of the largest v so far.

    Torch's form is bias-corrected and has an eps. The paper's form, with steps lr / sqrt(t), is ``amsgrad-rkk18``.
    """

    name = "amsgrad"
    summary = "Adam divided by the root of the largest second moment so far"
    equation = (
        "m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;  u <- max(u, v);  "
        "w <- w - lr (m / (1 - beta1^t)) / (sqrt(u / (1 - beta2^t)) + eps)"
    )
    source = "Reddi, Kale & Kumar 2018, algorithm 2, with bias correction; torch.optim.Adam(amsgrad=True)"
    cost = "1 gradient evaluation; 3 numbers of state per parameter"
    options = (lr(1e-3, 1e-5, 0.1), beta1(), beta2(), eps(), weight_decay())

    def arguments(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of torch's Adam, with its switch ``amsgrad``."""
        return {**super().arguments(hyperparameters), "amsgrad": True}

"""AdaGrad."""

from thalweg import Hyperparameter
from thalweg_plugins.optimizers.declared import Declared
from thalweg_plugins.optimizers.options import lr, weight_decay


class Adagrad(Declared):
    """G <- G + g^2; w <- w - lr g / (sqrt(G) + eps)."""

    name = "adagrad"
    summary = "steps divided by the root of the sum of all squared gradients so far"
    equation = "G <- G + g^2;  w <- w - lr g / (sqrt(G) + eps)"
    source = "Duchi, Hazan & Singer 2011; torch.optim.Adagrad"
    cost = "1 gradient evaluation; 1 number of state per parameter"
    torch_name = "Adagrad"
    options = (
        lr(0.01),
        Hyperparameter("eps", 1e-10, "[0, inf)", "added to the root"),
        weight_decay(),
    )

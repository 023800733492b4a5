"""RMSProp."""

from thalweg import Hyperparameter
from thalweg_plugins.optimizers.declared import Declared
from thalweg_plugins.optimizers.options import lr, weight_decay


class RMSprop(Declared):
    """v <- alpha v + (1 - alpha) g^2; w <- w - lr g / (sqrt(v) + eps)."""

    name = "rmsprop"
    summary = "steps divided by the root of a running mean of squared gradients"
    equation = "v <- alpha v + (1 - alpha) g^2;  w <- w - lr g / (sqrt(v) + eps)"
    source = "Tieleman & Hinton 2012, lecture 6.5; torch.optim.RMSprop"
    cost = "1 gradient evaluation; 1 number of state per parameter"
    torch_name = "RMSprop"
    options = (
        lr(1e-3, 1e-5, 0.1),
        Hyperparameter("alpha", 0.99, "[0, 1)", "decay rate of the mean of squared gradients"),
        Hyperparameter("eps", 1e-8, "[0, inf)", "added to the root"),
        weight_decay(),
    )

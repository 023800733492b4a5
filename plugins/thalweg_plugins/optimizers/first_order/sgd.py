"""Gradient descent."""

from thalweg_plugins.optimizers.declared import Declared
from thalweg_plugins.optimizers.options import lr, weight_decay


class SGD(Declared):
    """w <- w - lr g."""

    name = "sgd"
    summary = "gradient descent on mini-batches, without momentum"
    equation = "w <- w - lr g"
    source = "Robbins & Monro 1951; torch.optim.SGD"
    cost = "1 gradient evaluation; no state"
    torch_name = "SGD"
    options = (lr(0.1), weight_decay())

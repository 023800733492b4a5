"""Built-in optimizers."""

from thalweg import hookimpl
from thalweg.hookspecs import Register
from thalweg_plugins.optimizers.adagrad import Adagrad
from thalweg_plugins.optimizers.adam import Adam
from thalweg_plugins.optimizers.lbfgs import LBFGS
from thalweg_plugins.optimizers.momentum import Momentum, Nesterov
from thalweg_plugins.optimizers.rmsprop import RMSprop
from thalweg_plugins.optimizers.sgd import SGD


@hookimpl
def thalweg_register_optimizers(register: Register) -> None:
    """Register the built-in optimizers."""
    for optimizer in (SGD, Momentum, Nesterov, Adagrad, RMSprop, Adam, LBFGS):
        register(optimizer)

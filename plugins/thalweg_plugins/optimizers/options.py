"""Hyperparameters that several optimizers have."""

from __future__ import annotations

from thalweg import Hyperparameter, Search

FACTOR = Hyperparameter("lr", 1.0, "(0, 1]", "factor on the step")
MAX_PARAMETERS = Hyperparameter("max_parameters", 2000, "[1, inf)", "networks with more parameters are refused")
MAX_ITERATIONS = Hyperparameter("max_iterations", 50, "[1, inf)", "products in one step", Search(5, 200))
TOLERANCE = Hyperparameter("tolerance", 0.01, "(0, 1)", "relative residual at which conjugate gradients stop")


def lr(default: float, low: float = 1e-4, high: float = 1.0) -> Hyperparameter:
    """The learning rate."""
    return Hyperparameter("lr", default, "(0, inf)", "learning rate", Search(low, high))


def weight_decay() -> Hyperparameter:
    """The L2 penalty's coefficient."""
    return Hyperparameter("weight_decay", 0.0, "[0, inf)", "coefficient of an L2 penalty added to the gradient")


def decoupled_weight_decay(default: float) -> Hyperparameter:
    """The coefficient of decoupled weight decay."""
    return Hyperparameter("weight_decay", default, "[0, inf)", "each step subtracts lr times this share of the weights")


def beta1(default: float = 0.9) -> Hyperparameter:
    """The first moment's decay rate."""
    return Hyperparameter("beta1", default, "[0, 1)", "decay rate of the mean of gradients")


def beta2(default: float = 0.999) -> Hyperparameter:
    """The second moment's decay rate."""
    return Hyperparameter("beta2", default, "[0, 1)", "decay rate of the mean of squared gradients")


def eps(default: float = 1e-8) -> Hyperparameter:
    """The constant that keeps a denominator from zero."""
    return Hyperparameter("eps", default, "(0, inf)", "added to the root")

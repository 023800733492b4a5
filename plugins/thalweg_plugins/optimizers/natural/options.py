"""Hyperparameters of natural gradient."""

from __future__ import annotations

from dataclasses import replace

from thalweg import Hyperparameter, Search
from thalweg_plugins.optimizers.options import MAX_ITERATIONS, TOLERANCE

LR = Hyperparameter("lr", 0.3, "(0, inf)", "learning rate; does not count where kl is given", Search(0.01, 1.0))
DAMPING = Hyperparameter("damping", 0.1, "(0, inf)", "added to the Fisher matrix's diagonal", Search(1e-4, 1.0))
KL = Hyperparameter(
    "kl", 0.0, "[0, inf)", "each step is as long as makes the batch's mean KL(p_w || p_w+step) this; 0: off"
)
HIGHER_DAMPING = replace(DAMPING, default=0.3)
"""For matrices of few samples, which take a direction that no sample has for flat."""
BY_PRODUCTS = (TOLERANCE, MAX_ITERATIONS)
KL_COST = "with kl a product and a few forward passes more"

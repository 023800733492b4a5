"""Hyperparameters of natural gradient."""

from __future__ import annotations

from dataclasses import replace

from thalweg import Hyperparameter, Search
from thalweg_plugins.optimizers.options import MAX_ITERATIONS, TOLERANCE

LR = Hyperparameter("lr", 0.3, "(0, inf)", "learning rate; without effect where kl is set", Search(0.01, 1.0))
DAMPING = Hyperparameter("damping", 0.1, "(0, inf)", "added to the Fisher matrix's diagonal", Search(1e-4, 1.0))
KL = Hyperparameter(
    "kl", 0.0, "[0, inf)", "the batch's mean KL(p_w || p_w+step), which sets the length of each step; 0: off"
)
HIGHER_DAMPING = replace(DAMPING, default=0.3)
"""Damping for matrices of few samples, which are zero along directions that no sample has."""
BY_PRODUCTS = (TOLERANCE, MAX_ITERATIONS)
KL_COST = "with kl 1 product and a few forward passes more"

"""Optimizers on a function of two variables, step by step. Importing this package does not import torch."""

"""The workload ``digits-mlp`` outside of trials. Imports torch, so it is imported only when a claim is measured."""

from __future__ import annotations

import torch
from torch import nn

from thalweg.contracts import Draw, Shape
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import Supervised
from thalweg_plugins.architectures.mlp import MLP
from thalweg_plugins.claims.stepping import loaded
from thalweg_plugins.problems.digits import Digits

BATCH = 32
VALIDATION = 0.2


def digits_mlp(seed: int, batch: int = BATCH) -> tuple[Supervised, nn.Module, Draw]:
    """The data, the mlp with hidden layers of 64 and 64 units at its first weights, and the batches of a seed.

    In float64. 1,077 images train and 270 validate, as in the workload; batches and first weights are those of a trial
    with this seed.
    """
    problem = loaded(Digits(), VALIDATION)
    assert isinstance(problem, Supervised)
    draw = Draw(seed, batch)
    with torch.random.fork_rng():
        torch.manual_seed(draw.seed_for("init"))
        module = MLP().build(resolve(MLP().options, {}, "mlp"), Shape("classification", (64,), (10,))).double()
    return problem, module, draw

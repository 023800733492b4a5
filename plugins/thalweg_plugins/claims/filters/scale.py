"""Claim K2: raw sharpness follows the scale of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg_plugins.claims.filters import experiments
from thalweg_plugins.claims.filters.experiments import FACTORS, LEVELS, named
from thalweg_plugins.claims.lecture import LectureClaim
from thalweg_plugins.claims.trained import trials_of

if TYPE_CHECKING:
    import altair
    import pandas
    from torch import Tensor, nn

    from thalweg.contracts.claim import ClaimContext, Experiment, MeasuredTrial, Measurements
    from thalweg_plugins.claims.networks import Network

DRAWS = 10


def rescaled(module: nn.Module, weights: Tensor, factor: float) -> Tensor:
    """The weights of an equal function: the first layer and its bias times a factor, the second layer over it.

    max(0, a x) = a max(0, x) for a > 0, so the outputs of a ReLU network do not change.
    """
    import copy

    import torch
    from torch import nn
    from torch.nn.utils import vector_to_parameters

    from thalweg.landscape import flat

    scaled = copy.deepcopy(module)
    vector_to_parameters(weights.clone(), scaled.parameters())  # the parameters become views of the vector
    first, second = [layer for layer in scaled.modules() if isinstance(layer, nn.Linear)][:2]
    with torch.no_grad():
        first.weight.mul_(factor)
        first.bias.mul_(factor)
        second.weight.div_(factor)
    return flat(scaled)


class ScaleOfWeights(LectureClaim):
    """K2."""

    name = "K2"
    summary = "raw sharpness is larger where the weights are smaller, at equal training loss"
    statement = (
        "Without normalisation, the sharpness of a minimum says how large the weights are: a network with small "
        "weights looks sharp, and one with large weights looks flat."
    )
    source = (
        "Li, Xu, Taylor, Studer & Goldstein 2018, Visualizing the loss landscape of neural nets, section 4; Dinh et "
        "al. 2017"
    )
    method = (
        "Raw sharpness: the mean of d'Hd over ten standard normal directions d, without normalisation, of the "
        "training loss in float64. Rescaled networks: a trained ReLU network whose first layer is multiplied by eight "
        "factors from 0.25 to 4, and whose second layer is divided by them; the function is equal. Scales of "
        "initialization: He's initialization times the same factors, momentum at lr = 0.01. All networks are taken at "
        "the first evaluation with a training loss of 0.1 or less (cpu: 0.35)."
    )
    fault = (
        "The rule asks that sharpness falls where the norm of all weights rises. For rescaled networks this is the "
        "wrong way round. With factors a and 1/a on two layers, ||w||^2 and tr H, the mean of d'Hd, are both a sum of "
        "a term in a^2, a term in a^-2 and a constant. Both rise towards small and towards large a, so they rise "
        "together. Raw sharpness follows the scale there, but not in this direction. The other setting can decide its "
        "part."
    )
    caveat = (
        "A larger initialization also makes outputs more sensitive to each weight, as long as no normalisation takes "
        "the scale out; Li et al. argue for networks whose function does not see the scale. They compare networks "
        "that weight decay and batch size brought to different norms. Losses are equal up to the distance of two "
        "evaluations."
    )
    tiers = ("quick", "cpu", "full")

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """Networks from initializations of eight scales."""
        return (experiments.gains(tier),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Kendall's tau over eight networks of each kind."""
        from thalweg.contracts.claim import Measurements
        from thalweg_plugins.claims.networks import Network, at_training_loss

        rows = Measurements()
        experiment = experiments.gains(context.tier)
        network = context.once("network", lambda: Network.of(experiment.content["workloads"][named(1.0)]))
        trials = trials_of(context, experiment.name, seed)
        level = LEVELS[context.tier]
        base = at_training_loss(trials[named(1.0), "momentum"], level)
        found: Mapping[float, Any] = (
            {factor: rescaled(network.module, base[1], factor) for factor in FACTORS} if base else {}
        )
        _add_tau(rows, network, found, "rescaled networks", seed)
        _add_tau(rows, network, _trained(trials, level), "scales of initialization", seed)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """Raw sharpness against the norm of the weights."""
        from thalweg_plugins.claims.pictures import curves, of

        sharpness = of(table, "raw sharpness", curve=True).assign(series=lambda rows: rows["setting"])
        return curves(
            sharpness, "Raw sharpness and scale", "factor on the first layer, or on the initialization",
            "mean of d'Hd (loss)", log_x=True, log_y=True,
        )  # fmt: skip


def _trained(trials: Mapping[tuple[str, str], MeasuredTrial], level: float) -> dict[float, Tensor]:
    """The weights at the level of loss of each initialization that reaches it."""
    from thalweg_plugins.claims.networks import at_training_loss

    reached = {factor: at_training_loss(trials[named(factor), "momentum"], level) for factor in FACTORS}
    return {factor: found[1] for factor, found in reached.items() if found is not None}


def _add_tau(rows: Measurements, network: Network, weights: Mapping[float, Tensor], setting: str, seed: int) -> None:
    """Add tau of 1 / ||w|| and raw sharpness, and both for each network."""
    from scipy.stats import kendalltau

    sharpness = {factor: network.curvature(w, DRAWS, seed, filters=False) for factor, w in weights.items()}
    norms = {factor: float(w.norm()) for factor, w in weights.items()}
    complete = len(weights) == len(FACTORS)
    tau = (
        float(kendalltau([1 / norms[f] for f in norms], [sharpness[f] for f in norms]).statistic) if complete else None
    )
    if tau is not None and math.isnan(tau):
        tau = None
    note = "" if complete else f"{len(FACTORS) - len(weights)} of {len(FACTORS)} networks do not reach the loss"
    rows.add("Kendall tau of 1 / ||w|| and raw sharpness", tau, setting=setting, note=note)
    rows.curve("raw sharpness", sharpness.keys(), sharpness.values(), setting=setting)
    rows.curve("norm of the weights", norms.keys(), norms.values(), setting=setting)

"""Options that several probes share: the examples of a split, the precision, and the mode of batch norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg import Option

if TYPE_CHECKING:
    from torch import nn

    from thalweg.contracts.objective import Objective
    from thalweg.contracts.probe import ProbeContext

SPLIT = Option("split", "train", ("train", "valid", "test"), "which examples")
EXAMPLES = Option("examples", 1024, "[0, inf)", "how many of them, the same ones each time; 0: all")
BATCH_NORM = Option(
    "batch_norm", "running", ("running", "batch"), "batch norm's statistics: as trained, or the batch's"
)
DTYPE = Option("dtype", "trained", ("trained", "float32", "float64"), "the precision; trained: that of the training")
OPTIONS = (SPLIT, EXAMPLES, BATCH_NORM, DTYPE)


def chosen_objective(context: ProbeContext, final: bool = False) -> Objective:
    """The loss that a probe's ``OPTIONS`` choose, at the present weights or at the ``final`` weights."""
    import torch

    options = context.options
    dtype = {"trained": None, "float32": torch.float32, "float64": torch.float64}[options["dtype"]]
    objective = context.objective_on(
        options.get("split", "train"), options["examples"] or None, dtype, options["batch_norm"]
    )
    if final:
        assert context.weights.final is not None
        objective.module.load_state_dict(context.weights.final)
    return objective


def weights_of(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The trained parameters of two or more dimensions, with their names; all trained ones if no such parameter is."""
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    return [(name, parameter) for name, parameter in named if parameter.dim() > 1] or named

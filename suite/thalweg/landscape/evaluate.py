"""The primitive of every landscape probe: the loss and other metrics at many weight vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from thalweg.contracts.costs import Counts
from thalweg.contracts.problem import LoadedProblem, Split
from thalweg.landscape.evaluator import DEFAULT_MEMORY, BatchNorm, Evaluator, Losses, Method
from thalweg.landscape.points import Line, Plane, Span, flat, flat_from

__all__ = ["BatchNorm", "Evaluator", "Line", "Losses", "Method", "Plane", "Span", "flat", "flat_from", "losses_at"]


def losses_at(
    module: nn.Module,
    problem: LoadedProblem,
    points: Tensor | Span,
    split: Split = "train",
    batch_norm: BatchNorm = "running",
    *,
    examples: int | None = None,
    dtype: torch.dtype | None = None,
    metrics: Sequence[str] | None = None,
    method: Method = "auto",
    memory: int = DEFAULT_MEMORY,
    resume: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    counts: Counts | None = None,
) -> Losses:
    """The metrics of a split at K weight vectors.

    Args:
        module: the module. It is copied and never changed, not even by an exception or an interruption.
        problem: the loss and the data.
        points: weight vectors in the order of ``module.parameters()``, as ``flat`` gives them: a (K, P) tensor, or a
            line, plane or other span.
        split: the data.
        batch_norm: the source of batch norm's statistics. ``"running"`` uses the module's running statistics at every
            point. ``"batch"`` uses the statistics of all examples together at each point, as in training.
            ``"re-estimated"`` uses the statistics of the training examples at each point, with unbiased variances, as a
            mean over batches that fit into memory. ``"interpolated"`` takes the statistics from the point, which holds
            them after the parameters (see ``flat_from``).
        examples: the number of examples; see ``LoadedProblem.reduced``. None means the whole split.
        dtype: the precision of module, points and data; None leaves their precisions.
        metrics: the names of the wanted metrics; None means all metrics.
        method: ``"walk"`` puts one point after the other into the weights. ``"stack"`` evaluates several points in one
            pass. ``"auto"`` chooses one of the two by sizes alone: on a CPU ``"stack"`` where the weights of 64 points
            have at most 8 MiB and the largest activation of the examples has at most 32 KiB. ``"plain"`` walks without
            saving any work, as the reference for the others.
        memory: the bytes that activations may take; examples are cut into chunks to keep this limit.
        resume: a file that keeps partial sums, from which an equal call continues after an interruption.
        progress: called with the number of evaluations done and the number of all evaluations.
        counts: counts the examples.

    Returns:
        metric name -> float64 tensor of shape (K,). Values that are not finite are kept as they are. ``method`` of the
        result names the method that was used.

    Before work is saved, the outputs for two examples at one point are compared with the outputs of ``"plain"``. Where
    they differ, or where the evaluation that saves work fails, ``"plain"`` is used.

    To evaluate points in several calls, make an ``Evaluator`` once: most of what a call does before its first point is
    then done once.

    As in a run, the process keeps the memory that it frees (see ``thalweg.allocator``), unless ``THALWEG_ALLOCATOR``
    is ``system``.

    Raises:
        DataChangedError: the module writes into its inputs.
        ValueError: a point does not have P numbers; a metric or a mode does not exist; or with ``batch_norm = "batch"``
            all examples together do not fit into ``memory``.
    """
    evaluator = Evaluator(
        module,
        problem,
        split,
        batch_norm,
        examples=examples,
        dtype=dtype,
        metrics=metrics,
        method=method,
        memory=memory,
    )
    return evaluator(points, resume=resume, progress=progress, counts=counts)

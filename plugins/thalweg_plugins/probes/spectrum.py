"""The spectrum of the Hessian, the GGN or the Fisher matrix at the trained weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Column, Option, Probe
from thalweg_plugins.probes._objective import OPTIONS, chosen_objective, weights_of

if TYPE_CHECKING:
    import altair
    import pandas
    import torch
    from torch import Tensor

    from thalweg.contracts.objective import Objective
    from thalweg.contracts.probe import ProbeContext
    from thalweg.curvature import Eigenpairs, Operator

CURVATURE = "loss per squared unit of weight"
PER_CURVATURE = "squared unit of weight per loss"


class Spectrum(Probe):
    """Eigenvalues, trace and spectral density of A = H, GGN or Fisher matrix over all P parameters, by products A v.

    The table has five kinds of rows.

    - ``eigenvalue``: the k largest and the k smallest, by Lanczos' method with at most ``iterations`` products. ``low``
      and ``high`` are lambda -+ ||A v - lambda v||, and an eigenvalue lies between them. A multiple eigenvalue is found
      once, unless Lanczos' method ends before ``iterations``.
    - ``trace``: by Hutchinson's method and by Hutch++ with ``vectors`` products each; a 95% interval from Student's t.
    - ``density``: 1/P sum_j N(t; lambda_j, sigma^2) at points t, by ``draws`` quadratures of ``steps`` steps of
    Lanczos'
      method, fully reorthogonalised: the mean, the smallest and the largest of the draws. sigma is ``width``. If
      ``width`` is 0, sigma is (lambda_max - lambda_min) / steps, the narrowest Gaussian that the steps resolve to e^-8
      of its peak.
    - ``overlap``: ||Q'g||^2 / ||g||^2, with g the gradient and Q the eigenvectors of the i largest eigenvalues, for
      i = 1..k; missing where g = 0.
    - ``block``, with ``blocks``: the largest eigenvalue (with its bound) and the trace (with its interval) of the
      diagonal block of each layer's weights.

    The loss is the problem's, without the optimizer's penalty. With ``batch_norm = "batch"`` an output depends on all
    examples, so the GGN and Fisher matrices of a module with batch norm, which are means over examples, are refused.
    """

    name = "spectrum"
    summary = "eigenvalues, trace and spectral density of the Hessian, the GGN or the Fisher matrix after training"
    equation = "phi(t) = 1/P sum_j N(t; lambda_j, sigma^2),  tr A,  ||Q'g||^2 / ||g||^2"
    source = (
        "Ghorbani, Krishnan & Xiao 2019, algorithm 1; Golub & Welsch 1969; Yao et al. 2020; Meyer et al. 2021; "
        "overlap: Gur-Ari, Roberts & Dyer 2018"
    )
    revision = 5
    when = ("end",)
    weights_suffice = True
    needs = ("final",)
    options = (
        Option("matrix", "hessian", ("hessian", "ggn", "fisher"), "of which matrix"),
        Option("eigenvalues", 5, "[1, inf)", "k: how many of the largest and of the smallest"),
        Option(
            "iterations", 200, "[2, inf)", "products at most for the eigenvalues, the same for each block's largest"
        ),
        Option("steps", 50, "[2, inf)", "steps of Lanczos' method in each quadrature"),
        Option("draws", 5, "[1, inf)", "quadratures"),
        Option("vectors", 30, "[6, inf)", "products for each estimate of a trace"),
        Option("width", 0.0, "[0, inf)", "sigma of the density; 0: by the rule"),
        Option("blocks", False, summary="whether to look at each layer's diagonal block too"),
        *OPTIONS,
    )
    columns = (
        Column("kind", "", "eigenvalue, trace, density, overlap or block"),
        Column("quantity", "", "largest or smallest; Hutchinson or Hutch++; for a block largest or trace"),
        Column(
            "index", "", "1 the outermost eigenvalue; for overlap the number of eigenvectors; for a block the layer"
        ),
        Column("layer", "", "for a block the parameter's name in the module"),
        Column("at", CURVATURE, "for density the eigenvalue t"),
        Column("value", "see unit", "what was found"),
        Column("low", "see unit", "where it ends below: error bound, 95% interval, or the least of the draws"),
        Column("high", "see unit", "where it ends above: error bound, 95% interval, or the greatest of the draws"),
        Column("unit", "", "of value, low and high; empty for a pure number"),
        Column("vectors", "", "random vectors that it was estimated from"),
        Column("sigma", CURVATURE, "for density the smoothing width"),
        Column("matrix", "", "hessian, ggn or fisher"),
    )

    def misfit(self, options: Mapping[str, Any]) -> str | None:
        """Why the options do not fit: Lanczos' method needs enough iterations for both ends."""
        k, iterations = options["eigenvalues"], options["iterations"]
        if iterations < 2 * k:
            return f"iterations = {iterations} are too few for eigenvalues = {k} at either end: at least {2 * k}"
        return None

    def points(self, options: Mapping[str, Any]) -> int:
        """The products with the matrix for eigenvalues, both traces and the density."""
        return int(options["iterations"] + 2 * options["vectors"] + options["draws"] * options["steps"])

    def vectors(self, options: Mapping[str, Any]) -> int:
        """The vectors of the larger basis (Lanczos' method or Hutch++), and the eigenvectors at both ends."""
        return int(max(options["iterations"], options["steps"], options["vectors"]) + 2 * options["eigenvalues"])

    def measure(self, context: ProbeContext) -> pandas.DataFrame:
        """Products with one matrix at the final weights."""
        import pandas as pd

        objective = chosen_objective(context, final=True)
        options, generator = context.options, context.generator
        operator, gradient = operator_of(objective, options["matrix"])
        if not bool(gradient.isfinite().all()):
            raise ValueError("the gradient at the trained weights is not finite, so there is no spectrum")
        top, bottom = _extremes(operator, options["eigenvalues"], options["iterations"], generator)
        rows = [*_eigenvalue_rows(top, "largest"), *_eigenvalue_rows(bottom, "smallest")]
        rows += trace_rows(operator, options["vectors"], generator)
        rows += _density_rows(operator, options, (float(bottom.eigenvalues[0]), float(top.eigenvalues[0])), generator)
        rows += _overlap_rows(top.vectors, gradient)
        if options["blocks"]:
            rows += _block_rows(objective, options, generator)
        table = pd.DataFrame(rows, columns=[column.name for column in self.columns])
        table["matrix"] = options["matrix"]
        return table.astype(dict.fromkeys(("index", "at", "value", "low", "high", "vectors", "sigma"), float))

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The density on a log scale, with the eigenvalues as ticks below it."""
        from thalweg_plugins.probes._spectrum_charts import density_chart

        chart: altair.TopLevelMixin = density_chart(table)
        return chart

    def views(self) -> Mapping[str, Callable[[pandas.DataFrame], object]]:
        """Each layer's block, the traces, and the overlap."""
        from thalweg_plugins.probes._spectrum_charts import block_chart, overlap_chart

        return {"layers": block_chart, "overlap with the gradient": overlap_chart}


def operator_of(objective: Objective, matrix: str) -> tuple[Operator, Tensor]:
    """The matrix, and the gradient (P,) at its point.

    Raises:
        ValueError: the loss or batch norm's mode has no such matrix.
    """
    from thalweg.contracts.modes import batch_norms
    from thalweg.curvature import GGN, Fisher, flat, hessian

    if matrix == "hessian":
        found = hessian(objective)
        return found, found.gradient
    if any(layer.training for layer in batch_norms(objective.module)):
        raise ValueError(
            f"matrix = {matrix!r} is a mean over examples, and with batch_norm = 'batch' an example's output "
            "depends on the others: take batch_norm = 'running', or matrix = 'hessian'"
        )
    if objective.problem.output_loss is None:
        raise ValueError(
            f"matrix = {matrix!r}: this problem's loss is no function of outputs and targets; take matrix = 'hessian'"
        )
    operator = GGN(objective) if matrix == "ggn" else Fisher(objective)
    return operator, flat(objective.gradient(operator.outputs)[1]).detach()


def _like(operator: Operator) -> Tensor:
    from thalweg.curvature import flat

    return flat(operator.parameters).detach()


def _extremes(
    operator: Operator, k: int, iterations: int, generator: torch.Generator, smallest: bool = True
) -> tuple[Eigenpairs, Eigenpairs]:
    from thalweg.curvature import extreme_eigenpairs

    return extreme_eigenpairs(
        operator.__matmul__, _like(operator), k, generator, smallest=smallest, max_steps=iterations
    )


def _row(kind: str, unit: str = CURVATURE, quantity: str = "", layer: str = "", **numbers: float) -> dict[str, Any]:
    return {"kind": kind, "quantity": quantity, "layer": layer, "unit": unit, **numbers}


def _eigenvalue_rows(found: Eigenpairs, quantity: str) -> Iterator[dict[str, Any]]:
    for index, (value, bound) in enumerate(zip(found.eigenvalues.tolist(), found.bounds.tolist(), strict=True), 1):
        yield _row("eigenvalue", quantity=quantity, index=index, value=value, low=value - bound, high=value + bound)


def trace_rows(operator: Operator, vectors: int, generator: torch.Generator) -> Iterator[dict[str, Any]]:
    """The trace by two methods, each with its interval."""
    from thalweg.curvature import hutch_plus_plus, hutchinson

    for quantity, method in (("Hutchinson", hutchinson), ("Hutch++", hutch_plus_plus)):
        found = method(operator.products, _like(operator), vectors, generator)
        low, high = found.interval()
        yield _row("trace", quantity=quantity, value=found.value, low=low, high=high, vectors=found.products)


def _density_rows(
    operator: Operator, options: Mapping[str, Any], ends: tuple[float, float], generator: torch.Generator
) -> Iterator[dict[str, Any]]:
    from thalweg.curvature import quadratures, spectral_density, width

    runs = quadratures(operator.__matmul__, _like(operator), options["steps"], options["draws"], generator)
    sigma = options["width"] or width(*ends, options["steps"])
    found = spectral_density(runs, sigma, ends=ends)
    columns = (found.grid, found.draws.mean(0), found.draws.amin(0), found.draws.amax(0))
    for at, value, low, high in zip(*(column.tolist() for column in columns), strict=True):
        numbers = {"at": at, "value": value, "low": low, "high": high, "vectors": options["draws"], "sigma": sigma}
        yield _row("density", PER_CURVATURE, **numbers)


def _overlap_rows(vectors: Tensor, gradient: Tensor) -> Iterator[dict[str, Any]]:
    g = gradient.double()
    # a gradient of zero has no direction: 0/0 is nan, which is missing
    shares = (vectors.double() @ (g / g.norm())).square().cumsum(0).clamp(max=1.0)
    for index, value in enumerate(shares.tolist(), start=1):
        yield _row("overlap", "", index=index, value=value)


def _block_rows(
    objective: Objective, options: Mapping[str, Any], generator: torch.Generator
) -> Iterator[dict[str, Any]]:
    """The rows of each layer's block."""
    for depth, name, operator in _blocks(objective, options["matrix"]):
        top, _ = _extremes(operator, 1, options["iterations"], generator, smallest=False)
        (largest,) = _eigenvalue_rows(top, "largest")
        yield {**largest, "kind": "block", "layer": name, "index": depth}
        yield _block_trace(depth, name, operator, options["vectors"], generator)


def block_traces(
    objective: Objective, matrix: str, vectors: int, generator: torch.Generator
) -> Iterator[dict[str, Any]]:
    """The trace of each layer's block."""
    for depth, name, operator in _blocks(objective, matrix):
        yield _block_trace(depth, name, operator, vectors, generator)


def _blocks(objective: Objective, matrix: str) -> Iterator[tuple[int, str, Operator]]:
    """Each layer's block: the matrix of an objective in which that layer's weights alone are free."""
    import copy

    for depth, (name, parameter) in enumerate(weights_of(objective.module), start=1):
        alone = copy.copy(objective)
        alone.parameters = [parameter]
        yield depth, name, operator_of(alone, matrix)[0]


def _block_trace(depth: int, name: str, operator: Operator, vectors: int, generator: torch.Generator) -> dict[str, Any]:
    from thalweg.curvature import hutchinson

    trace = hutchinson(operator.products, _like(operator), vectors, generator)
    low, high = trace.interval()
    return _row(
        "block", quantity="trace", layer=name, index=depth,
        value=trace.value, low=low, high=high, vectors=trace.products,
    )  # fmt: skip

"""The loss on a plane through the trained weights, with the optimizer's path."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thalweg import Column, Option, Probe

if TYPE_CHECKING:
    import altair
    import numpy as np
    import pandas
    from torch import Tensor

    from thalweg.contracts.probe import ProbeContext
    from thalweg.landscape.adaptive import AdaptiveSurface
    from thalweg.landscape.evaluate import Losses

CURVATURE_EXAMPLES = 1024
"""The most examples for the Hessian whose eigenvectors span a plane."""

LANCZOS_STEPS = 80


class Surface(Probe):
    """L(w_T + x d1 + y d2) on a square grid centred on the trained weights w_T, over the training split.

    ``directions`` chooses the plane:

    - ``random``: d1 and d2 are standard normal. ``normalization`` rescales each filter to the norm of the trained
      filter, or each layer to the norm of the layer, or nothing. x and y run from -extent to extent. ``draws`` gives
      several planes. With rescaling, parameters of one dimension do not move, unless no trained parameter has two
      dimensions; then each parameter is one filter.
    - ``path``: the two leading principal components of the path from w_T, of unit length. The square holds the whole
      projected path. ``explained`` is the components' share of the path's variance around w_T.
    - ``hessian``: the eigenvectors of the Hessian's two largest eigenvalues, of unit length, on at most 1024 examples.
    - ``points``: the plane through the initial weights, the trained weights, and the point of the path that is farthest
      from the line between them. The square holds all three points.

    Frozen weights do not move. A complex weight counts as two numbers.

    The path is projected onto the plane by least squares. ``in_plane`` is the share of a point's displacement in the
    plane, and ``residual`` its distance from the plane. A random plane shows next to nothing of a path.

    Topology describes the sublevel sets of each grid, with neighbours in rows and columns: see
    ``thalweg.landscape.topology``. ``persistence`` and ``gap`` stand at its minima. The lowest minimum has infinite
    persistence. The mean of ``gap`` is a saddle-minimum average distance as in Landscaper (arXiv 2602.07135).

    With a ``tolerance``, only points where the surface bends are evaluated, and the grid is interpolated between them:
    see ``thalweg.landscape.adaptive``. The table reports the largest error at points that the interpolant had not seen,
    as a share of the range on the scale of the contours.
    """

    name = "surface"
    summary = "loss on a plane through the trained weights: random, of the path, of the Hessian or through three points"
    equation = "L(w_T + x d1 + y d2),  d_f <- d_f / ||d_f|| ||w_f|| for each filter f"
    source = "Li et al. 2018, sections 4 and 7; Landscaper (arXiv 2602.07135) for the topology"
    revision = 4
    when = ("end",)
    weights_suffice = True
    needs = ("initial", "final", "trajectory")
    thins = True
    options = (
        Option("resolution", 25, "[3, inf)", "points a side; odd, so that the trained weights are one of them"),
        Option("extent", 1.0, "(0, inf)", "half a side, for random directions and the Hessian's"),
        Option("directions", "random", ("random", "path", "hessian", "points"), "what spans the plane"),
        Option("normalization", "filter", ("filter", "layer", "none"), "what random directions are rescaled by"),
        Option("draws", 1, "[1, inf)", "random planes"),
        Option("tolerance", 0.0, "[0, 1)", "error to reach, as a share of the range; 0: evaluate the whole grid"),
        Option("evaluations", 400, "[42, inf)", "at most so many of them with a tolerance"),
        Option("examples", 0, "[0, inf)", "how many training examples; 0: all"),
        Option(
            "batch_norm",
            "running",
            ("running", "batch", "re-estimated"),
            "batch norm's statistics: as trained, of all examples at each point, or re-estimated there",
        ),
        Option(
            "scale",
            "log",
            ("log", "linear"),
            "scale of the contours, and of the tolerance; linear where a loss is below zero",
        ),
        Option("method", "auto", ("auto", "walk", "stack", "plain"), "how points are evaluated: see losses_at"),
    )
    columns = (
        Column("kind", "", "grid, path for the optimizer's own points, or evaluated for those behind an adaptive grid"),
        Column("draw", "", "which plane"),
        Column("x", "filter norms, or distance", "along d1"),
        Column("y", "filter norms, or distance", "along d2"),
        Column("loss", "", "training loss there; on the path, at the point itself and not at its projection"),
        Column("step", "steps", "of a path's point; missing on the grid"),
        Column("in_plane", "", "share of a path point's distance from the trained weights that lies in the plane"),
        Column("residual", "weights", "a path point's distance from the plane"),
        Column("explained", "", "for the path's plane its share of the path's variance; else missing"),
        Column("error", "", "of an adaptive grid: the largest at held-out points, as a share of the range"),
        Column("scale", "", "scale of the contours: log or linear"),
        Column("directions", "", "random (filter), random (layer), random (none), path, hessian or points"),
        Column("persistence", "", "at a minimum of the grid: the rise to the saddle into a lower valley; else missing"),
        Column("gap", "", "at a minimum of the grid: the rise to the first saddle into another valley; else missing"),
        Column("method", "", "how the grid's losses were computed: walk, stack or plain"),
    )

    def misfit(self, options: Mapping[str, Any]) -> str | None:
        """Why the options do not fit: the grid must hold the trained weights; each option must count."""
        resolution, directions = options["resolution"], options["directions"]
        if resolution % 2 == 0:
            return f"resolution = {resolution} is even: the trained weights are not on the grid"
        for name, default in (("normalization", "filter"), ("draws", 1)):
            if directions != "random" and options[name] != default:
                return f"{name} = {options[name]!r} is for random directions, and directions is {directions!r}"
        if directions in ("path", "points") and options["extent"] != 1.0:
            return f"extent is for random directions and the Hessian's, and directions = {directions!r} finds its own"
        return None

    def points(self, options: Mapping[str, Any]) -> int:
        """The points of all grids, with the evaluations behind interpolated grids."""
        behind = options["evaluations"] if options["tolerance"] else 0
        return int(options["draws"] * (options["resolution"] ** 2 + behind))

    def measure(self, context: ProbeContext) -> pandas.DataFrame:
        """Evaluate the grid and the path."""
        import pandas as pd

        from thalweg.landscape.evaluate import flat_from

        final, path = context.weights.final, context.weights.trajectory
        assert final is not None
        assert path is not None
        center = flat_from(context.module, final)
        if len(center) < 2:
            raise ValueError("nothing spans a plane: there is one weight")
        offsets = path.to(center) - center
        losses_at = self._evaluate(context)
        on_path = losses_at(path.to(center))["loss"]
        tables = []
        for draw in range(context.options["draws"]):
            plane = self._plane(context, center, offsets)
            grid = _with_minima(self._grid(context, losses_at, plane, draw), context.options["resolution"])
            coordinates, inside, residual = _projected(offsets.double(), plane.d1.double(), plane.d2.double())
            way = pd.DataFrame(
                {
                    "kind": "path",
                    "x": coordinates[:, 0].cpu().numpy(),
                    "y": coordinates[:, 1].cpu().numpy(),
                    "loss": on_path.numpy(),
                    "step": [float(step) for step in context.weights.trajectory_steps],
                    "in_plane": inside.cpu().numpy(),
                    "residual": residual.cpu().numpy(),
                }
            )
            table = pd.concat([grid, way], ignore_index=True)
            tables.append(table.assign(draw=draw, explained=plane.explained, directions=plane.name))
        table = pd.concat(tables, ignore_index=True)
        losses = table.loc[table["kind"] != "path", "loss"].to_numpy(float)
        table["scale"] = context.options["scale"] if (losses > 0).any() and not _below_zero(losses) else "linear"
        return table[[column.name for column in self.columns]]

    def _evaluate(self, context: ProbeContext) -> Callable[..., Losses]:
        """The losses at points, for several calls. With a name of a file, a call can be resumed."""
        from thalweg.landscape.evaluate import Evaluator

        options = context.options
        evaluator = Evaluator(
            context.module,
            context.problem,
            "train",
            options["batch_norm"],
            examples=options["examples"] or None,
            metrics=("loss",),
            method=options["method"],
        )

        def losses(points: Any, resume: str = "") -> Losses:
            return evaluator(
                points,
                resume=context.scratch / resume if context.scratch and resume else None,
                progress=context.progress if resume and not options["tolerance"] else None,
                counts=context.objective.counts,
            )

        return losses

    def _grid(
        self, context: ProbeContext, losses_at: Callable[..., Losses], plane: _Plane, draw: int
    ) -> pandas.DataFrame:
        """The losses on the square grid, evaluated or interpolated."""
        import numpy as np
        import pandas as pd
        import torch

        from thalweg.landscape.adaptive import adaptive_surface
        from thalweg.landscape.evaluate import Plane, Span

        options = context.options
        half = options["resolution"] // 2
        ticks = [plane.extent * (i - half) / half for i in range(options["resolution"])]
        positions = {"x": [x for _ in ticks for x in ticks], "y": [y for y in ticks for _ in ticks]}
        if not options["tolerance"]:
            points = Plane(plane.center, plane.d1, plane.d2, ticks, ticks)
            values = losses_at(points, f"draw-{draw}.sums")
            exact_losses = {"loss": values["loss"].numpy(), "method": values.method}
            return pd.DataFrame({"kind": "grid", **positions, **exact_losses, "error": np.nan})
        vectors = torch.stack([plane.center, plane.d1, plane.d2])

        methods: set[str] = set()
        calls, log = itertools.count(), options["scale"] == "log"

        def evaluate(at: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
            file = f"draw-{draw}-part-{next(calls)}.sums"
            coordinates = torch.cat([torch.ones(len(at), 1).double(), torch.from_numpy(at)], 1)
            values = losses_at(Span(vectors, coordinates), file)
            methods.add(values.method)
            losses = np.asarray(values["loss"].numpy())
            if log and _below_zero(losses):
                raise _BelowZeroError
            return losses

        def surface() -> AdaptiveSurface:
            ends = (-plane.extent, plane.extent)
            generator = np.random.default_rng(context.generator.initial_seed() + draw)
            tolerance, most = options["tolerance"], options["evaluations"]
            return adaptive_surface(evaluate, ends, ends, tolerance, log=log, most=most, generator=generator)

        try:
            found = surface()
        except _BelowZeroError:  # without logarithms the tolerance is relative to the losses
            log = False
            found = surface()
        grid = found.at(np.array(positions["x"]), np.array(positions["y"]))
        at, losses = found.points, found.values  # noqa: PD011 - no pandas here
        exact = pd.DataFrame({"kind": "evaluated", "x": at[:, 0], "y": at[:, 1], "loss": losses})
        whole = pd.concat([pd.DataFrame({"kind": "grid", **positions, "loss": grid}), exact], ignore_index=True)
        return whole.assign(error=found.max_error, method=", ".join(sorted(methods)))

    def _plane(self, context: ProbeContext, center: Tensor, offsets: Tensor) -> _Plane:
        import torch

        from thalweg.landscape.directions import filter_normalized, layer_normalized, random_direction
        from thalweg.landscape.evaluate import flat_from

        options, missing = context.options, float("nan")
        finite = offsets.isfinite().all(1).tolist()
        if options["directions"] in ("path", "points") and not all(finite):
            step = context.weights.trajectory_steps[finite.index(False)]
            raise ValueError(f"the weights on the path are not finite from step {step} on, so the path spans no plane")
        match options["directions"]:
            case "random":
                how = options["normalization"]
                rescale = {"filter": filter_normalized, "layer": layer_normalized}.get(how, lambda _, d: d)
                d1, d2 = (rescale(context.module, random_direction(context.module, context.generator)) for _ in "12")
                if not (bool(d1.any()) and bool(d2.any())):
                    raise ValueError(
                        f"the trained weights that normalization = {how!r} scales by are all zero, and so are its "
                        "directions: take normalization = 'none'"
                    )
                return _Plane(center, d1, d2, options["extent"], missing, f"random ({how})")
            case "hessian":
                d1, d2 = _top_two(context)
                return _Plane(center, d1.to(center), d2.to(center), options["extent"], missing, "hessian")
            case "points":
                assert context.weights.initial is not None
                start = flat_from(context.module, context.weights.initial) - center
                d1, d2 = _through(start.double(), offsets.double())
                spread = torch.stack([start.double(), _farthest(start.double(), offsets.double())])
                return _Plane(center, d1.to(center), d2.to(center), _reach(spread, d1, d2), missing, "points")
            case _:
                _, values, components = torch.linalg.svd(offsets.double(), full_matrices=False)
                if len(components) < 2:
                    raise ValueError("the path has fewer than two points: nothing spans a plane")
                # the sign of a principal component is arbitrary; this one puts the start of the path at the upper right
                signs = torch.where(components[:2] @ offsets[0].double() < 0, -1.0, 1.0)
                d1, d2 = components[:2] * signs[:, None]
                share = float(values[:2].square().sum() / values.square().sum())
                return _Plane(center, d1.to(offsets), d2.to(offsets), _reach(offsets.double(), d1, d2), share, "path")

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """Filled contours with the path in white, start as a square and end as a cross; all planes on one scale."""
        from thalweg_plugins.probes._surface_charts import contours

        return contours(table)

    def views(self) -> dict[str, Any]:
        """The heat map of every cell, the relief, the tree of the surface's valleys, and a bar for each minimum."""
        from thalweg_plugins.probes._surface_charts import heat_map, relief
        from thalweg_plugins.probes._topology_charts import barcode, tree

        return {"heat map": heat_map, "3-D": relief, "merge tree": tree, "persistence barcode": barcode}


@dataclass(frozen=True)
class _Plane:
    center: Tensor
    d1: Tensor
    d2: Tensor
    extent: float
    explained: float
    name: str


def _with_minima(grid: pandas.DataFrame, side: int) -> pandas.DataFrame:
    """The table of a grid, whose rows come first, with persistence and gap at the grid's minima."""
    import numpy as np

    from thalweg.landscape.topology import merge_tree

    persistence, gap = (np.full(len(grid), np.nan) for _ in range(2))
    for minimum in merge_tree(grid["loss"].to_numpy(float)[: side**2].reshape(side, side)).minima:
        place = minimum.row * side + minimum.column
        persistence[place], gap[place] = minimum.persistence, minimum.gap
    return grid.assign(persistence=persistence, gap=gap)


class _BelowZeroError(Exception):
    """A loss is below zero and has no logarithm."""


def _below_zero(losses: np.ndarray[Any, Any]) -> bool:
    """Whether a loss is below zero by more than rounding, so that logarithms do not exist."""
    known = losses[losses < float("inf")]
    return len(known) > 0 and bool(known.min() < -1e-6 * max(known.max(), 0.0))


def _top_two(context: ProbeContext) -> tuple[Tensor, Tensor]:
    """Unit eigenvectors of the Hessian's two largest eigenvalues at the trained weights."""
    from thalweg.curvature import Hessian, lanczos, random_start
    from thalweg.landscape.directions import with_frozen

    examples = context.options["examples"] or CURVATURE_EXAMPLES
    examples = min(examples, CURVATURE_EXAMPLES)
    batch = context.options["batch_norm"] == "batch"
    objective = context.objective_on("train", examples, None, "batch" if batch else "running")
    assert context.weights.final is not None
    objective.module.load_state_dict(context.weights.final)
    hessian = Hessian(objective)
    if not bool(hessian.gradient.isfinite().all()):
        raise ValueError("the gradient at the trained weights is not finite, so the Hessian spans no plane")
    start = random_start(hessian.gradient, context.generator)
    values, vectors = lanczos(hessian.__matmul__, start, LANCZOS_STEPS).eigenpairs()
    if len(values) < 2:
        raise ValueError("the Hessian has one direction of curvature: nothing spans a plane")
    # the sign of an eigenvector is arbitrary
    first, second = (vector * (1.0 if float(vector.sum()) >= 0 else -1.0) for vector in (vectors[-1], vectors[-2]))
    return with_frozen(context.module, first), with_frozen(context.module, second)


def _farthest(start: Tensor, offsets: Tensor) -> Tensor:
    """The point of the path that is farthest from the line through the trained weights and ``start``."""
    unit = start / start.norm()
    off = offsets - (offsets @ unit)[:, None] * unit
    return offsets[off.norm(dim=1).argmax()]


def _through(start: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal directions of the plane through the origin, ``start`` and the point farthest from their line."""
    far = _farthest(start, offsets)
    d1 = start / start.norm()
    rest = far - (far @ d1) * d1
    if float(rest.norm()) <= 1e-9 * float(far.norm()):
        raise ValueError("initial weights, trained weights and the path lie on one line: nothing spans a plane")
    return d1, rest / rest.norm()


def _reach(offsets: Tensor, d1: Tensor, d2: Tensor) -> float:
    """Half a side of the square that holds all points, with a margin."""
    import torch

    coordinates = offsets @ torch.stack([d1, d2], 1)
    return 1.2 * max(float(coordinates.abs().max()), torch.finfo(torch.float32).tiny)


def _projected(offsets: Tensor, d1: Tensor, d2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The least-squares coordinates (T, 2) of offsets (T, P) in the span of d1 and d2, the share in it, and the rest.

    The 2 by 2 normal equations are set up by sums and not by matrix products, because the bits of a sum do not depend
    on where the data lies in memory.
    """
    import torch

    pair = (d1, d2)
    gram = torch.stack([torch.stack([(a * b).sum() for b in pair]) for a in pair])
    coordinates = torch.linalg.solve(gram, torch.stack([(offsets * d).sum(1) for d in pair])).T
    inside = coordinates[:, :1] * d1 + coordinates[:, 1:] * d2
    lengths = offsets.norm(dim=1).clamp_min(torch.finfo(torch.float64).tiny)
    return coordinates, inside.norm(dim=1) / lengths, (offsets - inside).norm(dim=1)

"""The one primitive under every landscape probe: the loss (and metrics) at many weight vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from thalweg.allocator import set_allocator
from thalweg.contracts.copies import copied
from thalweg.contracts.modes import batch_norms, estimating, set_evaluating
from thalweg.contracts.objective import Counts
from thalweg.contracts.precision import move
from thalweg.contracts.problem import Draw, LoadedProblem, Split
from thalweg.contracts.real import real_dtype
from thalweg.contracts.supervised import Supervised
from thalweg.contracts.untouched import DataChangedError, blame, versions_of
from thalweg.errors import unknown
from thalweg.landscape.points import Line, Plane, Span, flat, flat_from
from thalweg.landscape.program import Program
from thalweg.landscape.resume import Partial, digest

__all__ = ["BatchNorm", "Line", "Method", "Plane", "Span", "flat", "flat_from", "losses_at"]

BatchNorm = Literal["running", "batch", "re-estimated", "interpolated"]
Method = Literal["auto", "walk", "stack", "plain"]

DEFAULT_MEMORY = 2**30
"""Bytes of activations at once, where nothing else is said."""

CHUNK = 2**21
"""Bytes of the largest activation on a CPU, unless all examples must be seen together: so it stays in the cache."""

SMALL = 2**16
"""Bytes of the largest activation at one point up to which stacking points pays on a CPU."""

_FEW = 4
"""Fewer points than this in a pass do not pay."""

_MOST = 64
"""And more gain nothing."""


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
) -> dict[str, Tensor]:
    """The metrics of a split at K weight vectors.

    Args:
        module: the module; it is copied and never changed, also when this raises or is interrupted.
        problem: where loss and data come from.
        points: weight vectors in the order of ``module.parameters()``, as ``flat`` gives them: a (K, P) tensor, or a
            line, plane or other span.
        split: the data.
        batch_norm: ``"running"`` uses the module's running statistics at every point; ``"batch"`` those of all examples
            together at that point, as in training; ``"re-estimated"`` the mean, over batches that fit into memory, of
            those of the training examples at that point, with the unbiased variance; ``"interpolated"`` takes them from
            the point, which then has them after the parameters (see ``flat_from``).
        examples: how many examples of the split; see ``LoadedProblem.reduced``. All of them where None.
        dtype: the precision of module, points and data, as they are where None.
        metrics: the names of those that are wanted; all of them where None.
        method: ``"walk"`` puts one point after the other into the weights; ``"stack"`` evaluates several in one pass;
            ``"auto"`` takes the one that is faster on this device at this size; ``"plain"`` walks without any saving of
            work, as the reference for the others.
        memory: bytes that activations may take: so the examples are cut into chunks.
        resume: a file that holds what is done, also when this is interrupted, and from which the same call goes on.
        progress: called with how many evaluations are done of how many.
        counts: where the examples are counted.

    Returns:
        metric name -> float64 tensor of shape (K,). Values that are not finite are kept as they are.

    Work is saved only where that gives the same outputs: on two examples at one of the points it is compared with
    ``"plain"``, which is taken where they differ, or where what saves work fails.

    As in a run, the process keeps the memory that it frees (see ``thalweg.allocator``), unless ``THALWEG_ALLOCATOR``
    is ``system``.

    Raises:
        DataChangedError: the module writes into its inputs.
        ValueError: a point does not have P numbers, a metric or a mode is not there, or all examples together do not
            fit into ``memory`` with ``batch_norm = "batch"``.
    """
    set_allocator()
    names = [metric.name for metric in problem.metrics]
    wanted = names if metrics is None else list(metrics)
    for kind, name, there in (
        *(("metric", name, names) for name in wanted),
        ("method", method, get_args(Method)),
        ("batch_norm", batch_norm, get_args(BatchNorm)),
    ):
        if name not in there:
            raise ValueError(unknown(kind, name, there))
    if not wanted or (examples is not None and examples < 1):
        raise ValueError(f"needs a metric, and examples of 1 or more or None; got {wanted} and {examples}")
    walker = copied(module)
    move(walker, dtype=dtype)
    set_evaluating(walker, "batch" if batch_norm == "batch" else "running")
    data = problem.reduced(split, examples, dtype)
    if batch_norm == "batch":
        for layer in batch_norms(walker):
            layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    evaluation = _Evaluation(walker, data, points, batch_norm, wanted, method, memory)
    if batch_norm == "re-estimated":
        evaluation.training = problem.reduced("train", None, dtype)
    settings = f"{type(problem).__name__} {split} {examples} {dtype} {batch_norm} {wanted} {method} {memory}"
    key = digest(evaluation.identity(), f"{settings}{evaluation.extra_state()}") if resume is not None else ""
    partial = Partial(resume, key, np.zeros((len(wanted), len(points))))
    versions = versions_of(vars(data).values())
    with torch.no_grad():
        try:
            evaluation.run(partial, progress or (lambda done, total: None))
        except BaseException:
            partial.write()
            raise
    if any(tensor._version != version for tensor, version in versions):
        raise DataChangedError(blame(module, data.batch("train", 0, Draw(0, 2)).inputs))
    partial.write()
    if counts is not None:
        counts.examples += data.sizes["train"] * len(points)
    return dict(zip(wanted, torch.from_numpy(partial.sums), strict=True))


class _Evaluation:
    """One call of ``losses_at``: a copy of the module, a problem of one split, and the points."""

    def __init__(
        self,
        walker: nn.Module,
        data: LoadedProblem,
        points: Tensor | Span,
        batch_norm: BatchNorm,
        wanted: list[str],
        method: Method,
        memory: int,
    ) -> None:
        self.data, self.batch_norm = data, batch_norm
        self.wanted, self.method, self.memory = wanted, method, memory
        self.training = data
        optimized = method != "plain" and batch_norm != "re-estimated"
        self.plain = Program(copied(walker) if optimized else walker, batch_norm == "interpolated", False)
        self.program = Program(walker, batch_norm == "interpolated") if optimized else self.plain
        self.count = len(points)
        rows = points.vectors if isinstance(points, Span) else points
        if rows.dim() != 2 or rows.shape[1] != self.program.size:
            got = tuple(rows.shape[1:])
            raise ValueError(f"shape mismatch: a point has shape {got}, expected ({self.program.size},)")
        parameters = list(walker.parameters())
        like = torch.empty(0, dtype=real_dtype(parameters), device=parameters[0].device)
        rows = rows.detach().to(like)
        self.listed: Tensor | None = None if isinstance(points, Span) else rows
        self.vectors: Tensor | None = rows if isinstance(points, Span) else None
        self.coordinates = points.coordinates.to(like) if isinstance(points, Span) else None
        self.numbers = None if self.coordinates is None else list(map(tuple, self.coordinates.tolist()))

    def identity(self) -> Iterator[Tensor]:
        """The tensors that the values depend on."""
        yield from (value for value in self.program.module.state_dict().values() if isinstance(value, Tensor))
        batch = self.data.batch("train", 0, Draw(0, None))
        numbers = (self.vectors, self.coordinates, self.listed, batch.inputs, batch.targets)
        yield from (tensor for tensor in numbers if tensor is not None)

    def extra_state(self) -> str:
        """What else the module's state is; empty where it is tensors alone."""
        state = self.program.module.state_dict()
        return "".join(f" {name} {value!r}" for name, value in state.items() if not isinstance(value, Tensor))

    def points(self, first: int, last: int) -> Tensor:
        """Points first to last - 1, as rows."""
        if self.coordinates is not None and self.vectors is not None:
            return self.coordinates[first:last] @ self.vectors
        assert self.listed is not None
        return self.listed[first:last]

    def run(self, partial: Partial, progress: Callable[[int, int], None]) -> None:
        """Add the mean of each metric over the examples to the sums."""
        data = self.data
        if not isinstance(data, Supervised) or type(data).evaluate is not Supervised.evaluate:
            self._each_as_a_whole(partial, progress)
            return
        largest, total = self._activation_bytes(data)
        fits = max(1, self.memory // max(total, 1))
        n = len(data.data["train"][0])
        if self.batch_norm == "re-estimated":
            data.chunk = min(data.chunk, fits)
            self._each_as_a_whole(partial, progress, self._reestimate(min(fits, data.chunk)))
            return
        if self.batch_norm == "batch" and fits < n:
            need = f"{n} examples need about {n * total / 2**20:.0f} MiB of activations"
            raise ValueError(f"batch statistics of all examples: {need}, and memory is {self.memory / 2**20:.0f} MiB")
        if self.device.type == "cpu" and self.batch_norm != "batch":
            fits = max(min(fits, CHUNK // max(largest, 1)), 64)
        together = self._together(min(fits, n), largest, total)
        if not self._agrees(data, together=1):
            self.program = self.plain
        if together > 1 and self.method != "stack" and not self._agrees(data, together):
            together = 1
        self.plain = self.program  # the copy may go
        self._chunk_by_chunk(data, min(fits, n), together, partial, progress)

    def _agrees(self, data: Supervised, together: int) -> bool:
        """Whether two examples at one of the points have the outputs that they have without any saving of work."""
        if self.program is self.plain and together == 1:
            return True
        few = data.prepared(data.data["train"][0][:2])
        # neither an end nor the centre, where coordinates are 0 and 1
        first = self.count // 3
        point = self.points(first, first + 1)
        self.plain.prepare(few, None)
        self.program.prepare(few, self.vectors, self.busiest)
        expected = self.plain.at(point[0], ())
        try:
            if together == 1:
                found = self.program.at(point[0], () if self.numbers is None else self.numbers[first])
            else:
                where = None if self.coordinates is None else self.coordinates[first].expand(2, -1)
                found = self.program.at_all(point.expand(2, -1), where)[0]
        except (RuntimeError, AttributeError):
            return False
        scale = expected.abs().nan_to_num(0, 0, 0).max()
        close = 1e-3 if expected.dtype == torch.float32 else 1e-8
        return torch.allclose(found, expected, rtol=close, atol=float(close * scale), equal_nan=True)

    def _chunk_by_chunk(
        self, data: Supervised, chunk: int, together: int, partial: Partial, progress: Callable[[int, int], None]
    ) -> None:
        """All points on some examples, then on the next ones; so many points in one pass."""
        inputs, targets = data.data["train"]
        n, k = len(inputs), self.count
        for number, start in enumerate(range(0, n, chunk)):
            done = max(partial.done - number * k, 0)
            if done >= k:
                continue
            prepared, answers = data.prepared(inputs[start : start + chunk]), targets[start : start + chunk]
            self.program.prepare(prepared, self.vectors, self.busiest)
            # what a few points gave travels at once: from a GPU each journey is a wait
            for first in range(done, k, _MOST):
                last = min(first + _MOST, k)
                passes = [
                    self._scores(data, answers, at, min(at + together, last)) for at in range(first, last, together)
                ]
                partial.add(first, torch.cat(passes, 1).cpu().numpy() * (len(prepared) / n))
                progress(partial.done, k * -(-n // chunk))

    @property
    def busiest(self) -> int:
        """The coordinate that changes most often from one point to the next."""
        if self.coordinates is None or self.count == 1:
            return 0
        return int((self.coordinates.diff(dim=0) != 0).sum(0).argmax())

    def _scores(self, data: Supervised, targets: Tensor, first: int, last: int) -> Tensor:
        """Means over a chunk of examples: one row a metric, one column a point."""
        points = self.points(first, last)
        if len(points) == 1:
            outputs = self.program.at(points[0], () if self.numbers is None else self.numbers[first])
        else:
            all_of_them = None if self.coordinates is None else self.coordinates[first:last]
            outputs = self.program.at_all(points, all_of_them).flatten(0, 1)
            targets = targets.repeat(len(points), *[1] * (targets.dim() - 1))
        scores = data.scores(outputs, targets, self.wanted)
        return torch.stack([score.view(len(points), -1).mean(1, dtype=torch.float64) for score in scores])

    def _each_as_a_whole(
        self, partial: Partial, progress: Callable[[int, int], None], before: Callable[[], None] = lambda: None
    ) -> None:
        """Each point by the problem's own evaluation; ``before`` is called with the point in the weights."""
        for k in range(partial.done, self.count):
            self.program.put(self.points(k, k + 1)[0])
            before()
            values = self.data.evaluate(self.program.module, "train")
            partial.add(k, np.array([[values[name]] for name in self.wanted]))
            progress(partial.done, self.count)

    def _reestimate(self, chunk: int) -> Callable[[], None]:
        """Sets batch norm's statistics to those of the training examples at the weights in the module."""
        assert isinstance(self.training, Supervised)
        module, layers = self.program.module, batch_norms(self.program.module)
        inputs = self.training.data["train"][0]
        batches = [self.training.prepared(inputs[at : at + chunk]) for at in range(0, len(inputs), chunk)]

        def reestimate() -> None:
            with estimating(layers):
                for batch in batches:
                    module(batch)
            module.eval()

        return reestimate

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return next(self.program.module.parameters()).device

    def _together(self, examples: int, largest: int, total: int) -> int:
        """How many points to evaluate in one pass."""
        if self.method in ("walk", "plain") or self.count == 1:
            return 1
        if self.device.type == "cpu":
            most = _MOST
            convolutions = any(isinstance(layer, _ConvNd) for layer in self.program.module.modules())
            pays = examples * largest <= SMALL and not convolutions
        else:
            most = self.memory // max(examples * total, 1)
            pays = most >= _FEW
        return min(max(most, 2), _MOST) if pays or self.method == "stack" else 1

    def _activation_bytes(self, data: Supervised) -> tuple[int, int]:
        """Bytes an example: of the largest output of a layer, and of all of them."""
        sizes: list[int] = []

        def note(_: nn.Module, __: object, output: object) -> None:
            if isinstance(output, Tensor):
                sizes.append(output.numel() * output.element_size())

        layers = [layer for layer in self.program.module.modules() if not any(True for _ in layer.children())]
        handles = [layer.register_forward_hook(note) for layer in layers]
        # of their own: what a module writes into them must not reach the caller's tensors
        inputs = data.prepared(data.data["train"][0][:2]).clone()
        self.program.module(inputs)
        for handle in handles:
            handle.remove()
        if inputs._version:
            raise DataChangedError(blame(self.program.module, inputs))
        return max(sizes, default=0) // len(inputs), sum(sizes) // len(inputs)

"""The primitive of every landscape probe: the loss and other metrics at many weight vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

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
from thalweg.landscape.scored import Scorer, alike

__all__ = ["BatchNorm", "Line", "Method", "Plane", "Span", "flat", "flat_from", "losses_at"]

BatchNorm = Literal["running", "batch", "re-estimated", "interpolated"]
Method = Literal["auto", "walk", "stack", "plain"]

DEFAULT_MEMORY = 2**30
"""The default for the bytes of activations at one time."""

CHUNK = 2**22
"""Bytes of the largest activation on a CPU, which fit into its cache. Batch statistics may need more."""

STACKED_WEIGHTS = 2**23
"""On a CPU, stacking points pays only if the weights of 64 points have at most this many bytes."""

STACKED_ACTIVATIONS = 2**15
"""On a CPU, stacking points pays only if the largest activation at one point has at most this many bytes."""

_FEW = 4
"""The fewest points in a pass for which stacking pays."""

_MOST = 64
"""The most points in a pass; more gain nothing."""


class Losses(dict[str, Tensor]):
    """The values of each metric, shape (K,) each, by its name.

    ``method`` says how they were computed: ``"walk"``, ``"stack"`` or ``"plain"``.
    """

    method: Literal["walk", "stack", "plain"] = "plain"


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

    As in a run, the process keeps the memory that it frees (see ``thalweg.allocator``), unless ``THALWEG_ALLOCATOR``
    is ``system``.

    Raises:
        DataChangedError: the module writes into its inputs.
        ValueError: a point does not have P numbers; a metric or a mode does not exist; or with ``batch_norm = "batch"``
            all examples together do not fit into ``memory``.
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
    data = problem.reduced(split, examples, dtype)

    def walker() -> nn.Module:
        made = copied(module)
        move(made, dtype=dtype)
        set_evaluating(made, "batch" if batch_norm == "batch" else "running")
        if batch_norm == "batch":
            for layer in batch_norms(made):
                layer.running_mean = layer.running_var = layer.num_batches_tracked = None
        return made

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
    found = Losses(zip(wanted, torch.from_numpy(partial.sums), strict=True))
    found.method = evaluation.used
    return found


class _Evaluation:
    """One call of ``losses_at``: a copy of the module, a problem of one split, and the points."""

    def __init__(
        self,
        walker: Callable[[], nn.Module],
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
        self.used: Literal["walk", "stack", "plain"] = "plain"
        self._walker = walker
        self.program = Program(walker(), batch_norm == "interpolated")
        self.count = len(points)
        rows = points.vectors if isinstance(points, Span) else points
        if rows.dim() != 2 or rows.shape[1] != self.program.size:
            got = tuple(rows.shape[1:])
            raise ValueError(f"shape mismatch: a point has shape {got}, expected ({self.program.size},)")
        parameters = list(self.program.module.parameters())
        self.like = like = torch.empty(0, dtype=real_dtype(parameters), device=parameters[0].device)
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
        """The entries of the module's state that are not tensors, as a text."""
        state = self.program.module.state_dict()
        return "".join(f" {name} {value!r}" for name, value in state.items() if not isinstance(value, Tensor))

    def points(self, first: int, last: int) -> Tensor:
        """The points ``first`` to ``last - 1`` as rows."""
        if self.coordinates is not None and self.vectors is not None:
            return self.coordinates[first:last] @ self.vectors
        assert self.listed is not None
        return self.listed[first:last]

    def run(self, partial: Partial, progress: Callable[[int, int], None]) -> None:
        """Evaluate all points, and add each metric's mean over the examples to the sums."""
        data = self.data
        if not isinstance(data, Supervised) or type(data).evaluate is not Supervised.evaluate:
            self._each_as_a_whole(partial, progress)
            return
        try_point = self._checked_point()
        few = data.prepared(data.data["train"][0][:2])
        expected, largest, total = self._plainly(few, try_point)
        fits = max(1, self.memory // max(total, 1))
        n = len(data.data["train"][0])
        if self.batch_norm == "re-estimated":
            data.chunk = min(data.chunk, fits)
            self._each_as_a_whole(partial, progress, self._reestimate(min(fits, data.chunk)))
            return
        if self.batch_norm == "batch" and fits < n:
            need = f"{n} examples need about {n * total / 2**20:.0f} MiB of activations"
            raise ValueError(f"batch statistics of all examples: {need}, but memory is {self.memory / 2**20:.0f} MiB")
        if self.device.type == "cpu" and self.batch_norm != "batch":
            fits = max(min(fits, CHUNK // max(largest, 1)), 64)
        together = self._together(min(fits, n), largest, total)
        if self.method != "plain" and isinstance(expected, Tensor):
            self.program.save_work()
            self.used = "walk" if together == 1 else "stack"
            self.program.prepare(few, self.vectors, self.busiest)
            if not _alike(lambda: self._outputs(try_point), expected):
                self.program, self.used = Program(self._walker(), self.batch_norm == "interpolated"), "plain"
                self.program.prepare(few, None)
            if together > 1 and self.method != "stack" and not _alike(lambda: self._stacked(try_point), expected):
                together, self.used = 1, "walk" if self.used == "stack" else self.used
        self._chunk_by_chunk(data, min(fits, n), together, partial, progress)

    def _checked_point(self) -> int:
        """The number of a point that no term of the span is missing from, about a third of the way."""
        first = self.count // 3
        if self.numbers is None:
            return first
        zeros = [numbers.count(0.0) for numbers in self.numbers]
        return zeros.index(min(zeros), first) if min(zeros) in zeros[first:] else zeros.index(min(zeros))

    def _plainly(self, inputs: Tensor, number: int) -> tuple[Any, int, int]:
        """The module's outputs at a point, and for one example the bytes of its largest layer output and of all."""
        sizes: list[int] = []

        def note(_: nn.Module, __: object, output: object) -> None:
            if isinstance(output, Tensor):
                sizes.append(output.numel() * output.element_size())

        layers = [layer for layer in self.program.module.modules() if not any(True for _ in layer.children())]
        handles = [layer.register_forward_hook(note) for layer in layers]
        # copies, so that a module that writes into its inputs does not change the caller's tensors
        inputs = inputs.clone()
        self.program.prepare(inputs, None)
        outputs = self.program.at(self.points(number, number + 1)[0])
        for handle in handles:
            handle.remove()
        if inputs._version:
            raise DataChangedError(blame(self.program.module, inputs))
        return outputs, max(sizes, default=0) // len(inputs), sum(sizes) // len(inputs)

    def _outputs(self, number: int) -> Any:
        """The outputs (N, ...) at one point, which may lie in a tensor that the next call overwrites."""
        if self.numbers is None or self.used == "plain":
            return self.program.at(self.points(number, number + 1)[0])
        return self.program.along(self.numbers[number], lambda: self.points(number, number + 1)[0])

    def _stacked(self, number: int) -> Tensor:
        """The outputs (N, ...) at one point, computed in a pass of two points."""
        where = None if self.coordinates is None else self.coordinates[number].expand(2, -1)
        return self.program.at_all(self.points(number, number + 1).expand(2, -1), where)[0]

    def _chunk_by_chunk(
        self, data: Supervised, chunk: int, together: int, partial: Partial, progress: Callable[[int, int], None]
    ) -> None:
        """Evaluate all points on one chunk of examples after the other, with ``together`` points in one pass."""
        inputs, targets = data.data["train"]
        n, k = len(inputs), self.count
        for number, start in enumerate(range(0, n, chunk)):
            done = max(partial.done - number * k, 0)
            if done >= k:
                continue
            prepared, answers = data.prepared(inputs[start : start + chunk]), targets[start : start + chunk]
            self.program.prepare(prepared, None if self.used == "plain" else self.vectors, self.busiest)
            scorer = Scorer(data, answers, self.wanted)
            # the results of several points leave the GPU together, since each transfer waits for the GPU
            for first in range(done, k, _MOST):
                last = min(first + _MOST, k)
                if together > 1:
                    passes = [self._pass(at, min(at + together, last)) for at in range(first, last, together)]
                    found = [scorer.of_each(outputs) for outputs in passes]
                else:
                    found = list(self._walk(scorer, first, last))
                partial.add(first, torch.cat(found, 1).cpu().numpy() * (len(prepared) / n))
                progress(partial.done, k * -(-n // chunk))

    @property
    def busiest(self) -> int:
        """The coordinate that changes most often from one point to the next."""
        if self.coordinates is None or self.count == 1:
            return 0
        return int((self.coordinates.diff(dim=0) != 0).sum(0).argmax())

    def _pass(self, first: int, last: int) -> Tensor:
        """The outputs (K, N, ...) at several points, in one pass."""
        where = None if self.coordinates is None else self.coordinates[first:last]
        return self.program.at_all(self.points(first, last), where)

    def _walk(self, scorer: Scorer, first: int, last: int) -> Iterator[Tensor]:
        """Means over a chunk of examples, in pieces with a row for each metric and a column for each point."""
        k = first
        while k < last:
            outputs = self._outputs(k)
            pile = None if self.used == "plain" else scorer.pile(outputs, last - k)
            if pile is None:
                yield scorer.of_one(outputs)
                k += 1
                continue
            pile[0].copy_(outputs)
            for place in range(1, len(pile)):
                pile[place].copy_(self._outputs(k + place))
            yield scorer.of_each(pile)
            k += len(pile)

    def _each_as_a_whole(
        self, partial: Partial, progress: Callable[[int, int], None], before: Callable[[], None] = lambda: None
    ) -> None:
        """Evaluate each point by the problem's own method; ``before`` is called when the point is in the weights."""
        for k in range(partial.done, self.count):
            self.program.put(self.points(k, k + 1)[0])
            before()
            values = self.data.evaluate(self.program.module, "train")
            partial.add(k, np.array([[values[name]] for name in self.wanted]))
            progress(partial.done, self.count)

    def _reestimate(self, chunk: int) -> Callable[[], None]:
        """Re-estimates batch norm's statistics on the training examples at the module's present weights."""
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
        """The device of the evaluation."""
        return next(self.program.module.parameters()).device

    def _together(self, examples: int, largest: int, total: int) -> int:
        """The number of points to evaluate in one pass."""
        if self.method in ("walk", "plain") or self.count == 1:
            return 1
        if self.device.type == "cpu":
            most = _MOST
            weights = _MOST * self.program.size * self.like.element_size()
            pays = weights <= STACKED_WEIGHTS and examples * largest <= STACKED_ACTIVATIONS
        else:
            most = self.memory // max(examples * total, 1)
            pays = most >= _FEW
        return min(max(most, 2), _MOST) if pays or self.method == "stack" else 1


def _alike(outputs: Callable[[], Any], expected: Tensor) -> bool:
    """Whether outputs are the expected ones up to rounding."""
    try:
        return alike(outputs(), expected, 1e-3 if expected.dtype == torch.float32 else 1e-8)
    except Exception:  # a stranger's module may fail in any way where its work is saved
        return False

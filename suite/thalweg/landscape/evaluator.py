"""A module that is prepared once for evaluation at many weight vectors, and then evaluated call after call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.allocator import set_allocator
from thalweg.contracts.copies import copied
from thalweg.contracts.costs import Counts
from thalweg.contracts.modes import batch_norms, estimating, set_evaluating
from thalweg.contracts.precision import move
from thalweg.contracts.problem import Draw, LoadedProblem, Split
from thalweg.contracts.real import real_dtype
from thalweg.contracts.supervised import Supervised
from thalweg.contracts.untouched import DataChangedError, blame, versions_of
from thalweg.errors import unknown
from thalweg.landscape.points import Points, Span
from thalweg.landscape.program import Program
from thalweg.landscape.resume import Partial, digest
from thalweg.landscape.scored import Scorer, alike

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


@dataclass
class _Ready:
    """A program for points with or without a span, and what comparing it with the module itself has shown."""

    program: Program
    sizes: tuple[int, int]
    """For one example, the bytes of the largest layer output and of all layer outputs."""
    saves: bool = False
    """Whether the program saves work."""
    stacks: bool = False
    """Whether the program may evaluate several points in one pass."""


class Evaluator:
    """The metrics of a split at weight vectors, for several calls with one module.

    A call gives what ``losses_at`` gives for the module as it was when the evaluator was made. The module is rewritten
    and checked at the first call with a span, and at the first call with listed points.

    Args:
        module: see ``losses_at``, like the other arguments. The evaluator takes a copy.

    Raises:
        ValueError: a metric or a mode does not exist.
    """

    def __init__(
        self,
        module: nn.Module,
        problem: LoadedProblem,
        split: Split = "train",
        batch_norm: BatchNorm = "running",
        *,
        examples: int | None = None,
        dtype: torch.dtype | None = None,
        metrics: Sequence[str] | None = None,
        method: Method = "auto",
        memory: int = DEFAULT_MEMORY,
    ) -> None:
        set_allocator()
        names = [metric.name for metric in problem.metrics]
        self.wanted = names if metrics is None else list(metrics)
        for kind, name, there in (
            *(("metric", name, names) for name in self.wanted),
            ("method", method, get_args(Method)),
            ("batch_norm", batch_norm, get_args(BatchNorm)),
        ):
            if name not in there:
                raise ValueError(unknown(kind, name, there))
        if not self.wanted or (examples is not None and examples < 1):
            raise ValueError(f"needs a metric, and examples of 1 or more or None; got {self.wanted} and {examples}")
        self.data = problem.reduced(split, examples, dtype)
        self._training = problem.reduced("train", None, dtype) if batch_norm == "re-estimated" else self.data
        # a copy, since the caller may change the module between calls
        self._module, self._dtype = copied(module), dtype
        self.batch_norm, self.method, self.memory = batch_norm, method, memory
        self.program = Program(self._walker(), batch_norm == "interpolated")
        parameters = list(self.program.module.parameters())
        self._like = torch.empty(0, dtype=real_dtype(parameters), device=parameters[0].device)
        settings = (type(problem).__name__, split, examples, dtype, batch_norm, self.wanted, method, memory)
        self._settings = " ".join(map(str, settings))
        self._identity = ""
        self._ready: dict[bool, _Ready] = {}
        """By whether the points have a span."""
        self.used: Literal["walk", "stack", "plain"] = "plain"

    def _walker(self) -> nn.Module:
        """A copy of the module in the mode for evaluation."""
        made = copied(self._module)
        move(made, dtype=self._dtype)
        set_evaluating(made, "batch" if self.batch_norm == "batch" else "running")
        if self.batch_norm == "batch":
            for layer in batch_norms(made):
                layer.running_mean = layer.running_var = layer.num_batches_tracked = None
        return made

    def __call__(
        self,
        points: Tensor | Span,
        *,
        resume: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
        counts: Counts | None = None,
    ) -> Losses:
        """The metrics at K points.

        Args:
            points: see ``losses_at``, like the other arguments.

        Raises:
            DataChangedError: the module writes into its inputs.
            ValueError: a point does not have P numbers, or the examples do not fit into the memory.
        """
        at = Points(points, self._like, self.program.size)
        partial = Partial(
            resume, self._key(at) if resume is not None else "", np.zeros((len(self.wanted), len(points)))
        )
        versions = versions_of(vars(self.data).values())
        with torch.no_grad():
            try:
                self._run(at, partial, progress or (lambda done, total: None))
            except BaseException:
                partial.write()
                raise
        if any(tensor._version != version for tensor, version in versions):
            raise DataChangedError(blame(self._module, self.data.batch("train", 0, Draw(0, 2)).inputs))
        partial.write()
        if counts is not None:
            counts.examples += self.data.sizes["train"] * len(points)
        found = Losses(zip(self.wanted, torch.from_numpy(partial.sums), strict=True))
        found.method = self.used
        return found

    def _key(self, points: Points) -> str:
        """Identifies a call: everything that its values depend on."""
        if not self._identity:
            state = self._walker().state_dict()
            batch = self.data.batch("train", 0, Draw(0, None))
            tensors = [value for value in (*state.values(), batch.inputs, batch.targets) if isinstance(value, Tensor)]
            others = "".join(f" {name} {value!r}" for name, value in state.items() if not isinstance(value, Tensor))
            self._identity = digest(tensors, f"{self._settings}{others}")
        return digest(points.tensors(), self._identity)

    def _run(self, points: Points, partial: Partial, progress: Callable[[int, int], None]) -> None:
        """Evaluate all points, and add each metric's mean over the examples to the sums."""
        data = self.data
        if not isinstance(data, Supervised) or type(data).evaluate is not Supervised.evaluate:
            self._each_as_a_whole(points, partial, progress)
            return
        spanned = points.vectors is not None
        if spanned not in self._ready:
            self._ready[spanned] = self._get_ready(data, points)
        ready = self._ready[spanned]
        self.program, (largest, total) = ready.program, ready.sizes
        n = len(data.data["train"][0])
        fits = max(1, self.memory // max(total, 1))
        if self.batch_norm == "re-estimated":
            data.chunk = min(data.chunk, fits)
            self._each_as_a_whole(points, partial, progress, self._reestimate(min(fits, data.chunk)))
            return
        if self.batch_norm == "batch" and fits < n:
            need = f"{n} examples need about {n * total / 2**20:.0f} MiB of activations"
            raise ValueError(f"batch statistics of all examples: {need}, but memory is {self.memory / 2**20:.0f} MiB")
        chunk = self._chunk(n, largest, total)
        together = self._together(chunk, largest, total) if ready.stacks and len(points) > 1 else 1
        self.used = "stack" if together > 1 else "walk" if ready.saves else "plain"
        self._chunk_by_chunk(data, points, chunk, together, partial, progress)

    def _chunk(self, examples: int, largest: int, total: int) -> int:
        """The number of examples in one pass."""
        fits = max(1, self.memory // max(total, 1))
        if self._like.device.type == "cpu" and self.batch_norm != "batch":
            fits = max(min(fits, CHUNK // max(largest, 1)), 64)
        return min(fits, examples)

    def _get_ready(self, data: Supervised, points: Points) -> _Ready:
        """A program that saves work, if two examples at one point have equal outputs that way."""
        if self._ready:
            self.program = Program(self._walker(), self.batch_norm == "interpolated")
        number = points.typical()
        few = data.prepared(data.data["train"][0][:2])
        expected, sizes = self._plainly(few, points, number)
        ready = _Ready(self.program, sizes)
        if self.method == "plain" or self.batch_norm == "re-estimated" or not isinstance(expected, Tensor):
            return ready
        self.program.save_work()
        self.program.prepare(few, points.vectors)
        self.program.turn(points.busiest)
        ready.saves = _alike(lambda: self._outputs(points, number), expected)
        if not ready.saves:
            ready.program = self.program = Program(self._walker(), self.batch_norm == "interpolated")
            self.program.prepare(few, None)
        # a wish for "stack" is not checked, so that its errors are seen
        ready.stacks = self.method == "stack" or (
            self._stacking_pays(self._chunk(len(data.data["train"][0]), *sizes), *sizes)
            and _alike(lambda: self._stacked(points, number), expected)
        )
        return ready

    def _plainly(self, inputs: Tensor, points: Points, number: int) -> tuple[Any, tuple[int, int]]:
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
        outputs = self.program.at(points[number])
        for handle in handles:
            handle.remove()
        if inputs._version:
            raise DataChangedError(blame(self.program.module, inputs))
        return outputs, (max(sizes, default=0) // len(inputs), sum(sizes) // len(inputs))

    def _outputs(self, points: Points, number: int) -> Any:
        """The outputs (N, ...) at one point, which may lie in a tensor that the next call overwrites."""
        if points.numbers is None or not self.program.saves_work:
            return self.program.at(points[number])
        return self.program.along(points.numbers[number], lambda: points[number])

    def _stacked(self, points: Points, number: int) -> Tensor:
        """The outputs (N, ...) at one point, computed in a pass of two points."""
        where = None if points.coordinates is None else points.coordinates[number].expand(2, -1)
        return self.program.at_all(points[number].expand(2, -1), where)[0]

    def _chunk_by_chunk(
        self,
        data: Supervised,
        points: Points,
        chunk: int,
        together: int,
        partial: Partial,
        progress: Callable[[int, int], None],
    ) -> None:
        """Evaluate all points on one chunk of examples after the other, with ``together`` points in one pass."""
        inputs, targets = data.data["train"]
        n, k = len(inputs), len(points)
        for number, start in enumerate(range(0, n, chunk)):
            done = max(partial.done - number * k, 0)
            if done >= k:
                continue
            answers = targets[start : start + chunk]
            self.program.prepare(
                data.prepared(inputs[start : start + chunk]), points.vectors if self.program.saves_work else None
            )
            self.program.turn(points.busiest)
            scorer = Scorer(data, answers, self.wanted)
            # the results of several points leave the GPU together, since each transfer waits for the GPU
            for first in range(done, k, _MOST):
                last = min(first + _MOST, k)
                if together > 1:
                    passes = [self._pass(points, at, min(at + together, last)) for at in range(first, last, together)]
                    found = [scorer.of_each(outputs) for outputs in passes]
                else:
                    found = list(self._walk(points, scorer, first, last))
                partial.add(first, torch.cat(found, 1).cpu().numpy() * (len(answers) / n))
                progress(partial.done, k * -(-n // chunk))

    def _pass(self, points: Points, first: int, last: int) -> Tensor:
        """The outputs (K, N, ...) at several points, in one pass."""
        where = None if points.coordinates is None else points.coordinates[first:last]
        return self.program.at_all(points.rows(first, last), where)

    def _walk(self, points: Points, scorer: Scorer, first: int, last: int) -> Iterator[Tensor]:
        """Means over a chunk of examples, in pieces with a row for each metric and a column for each point."""
        k = first
        while k < last:
            outputs = self._outputs(points, k)
            if not (self.program.saves_work and isinstance(outputs, Tensor)):
                yield scorer.of_one(outputs)
                k += 1
                continue
            pile = scorer.pile(outputs, last - k)
            pile[0].copy_(outputs)
            for place in range(1, len(pile)):
                pile[place].copy_(self._outputs(points, k + place))
            yield scorer.of_pile(pile)
            k += len(pile)

    def _each_as_a_whole(
        self,
        points: Points,
        partial: Partial,
        progress: Callable[[int, int], None],
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """Evaluate each point by the problem's own method; ``before`` is called when the point is in the weights."""
        for k in range(partial.done, len(points)):
            self.program.put(points[k])
            before()
            values = self.data.evaluate(self.program.module, "train")
            partial.add(k, np.array([[values[name]] for name in self.wanted]))
            progress(partial.done, len(points))

    def _reestimate(self, chunk: int) -> Callable[[], None]:
        """Re-estimates batch norm's statistics on the training examples at the module's present weights."""
        assert isinstance(self._training, Supervised)
        module, layers = self.program.module, batch_norms(self.program.module)
        inputs = self._training.data["train"][0]
        batches = [self._training.prepared(inputs[at : at + chunk]) for at in range(0, len(inputs), chunk)]

        def reestimate() -> None:
            with estimating(layers):
                for batch in batches:
                    module(batch)
            module.eval()

        return reestimate

    def _together(self, examples: int, largest: int, total: int) -> int:
        """The number of points to evaluate in one pass, for a program that may do so."""
        if self.method != "stack" and not self._stacking_pays(examples, largest, total):
            return 1
        most = _MOST if self._like.device.type == "cpu" else self.memory // max(examples * total, 1)
        return min(max(most, 2), _MOST)

    def _stacking_pays(self, examples: int, largest: int, total: int) -> bool:
        """Whether one pass for several points is faster, by sizes alone."""
        if self.method != "auto":
            return False
        if self._like.device.type == "cpu":
            weights = _MOST * self.program.size * self._like.element_size()
            return weights <= STACKED_WEIGHTS and examples * largest <= STACKED_ACTIVATIONS
        return self.memory // max(examples * total, 1) >= _FEW


def _alike(outputs: Callable[[], Any], expected: Tensor) -> bool:
    """Whether outputs are the expected ones up to rounding."""
    try:
        return alike(outputs(), expected, 1e-3 if expected.dtype == torch.float32 else 1e-8)
    except Exception:  # a stranger's module may fail in any way where its work is saved
        return False

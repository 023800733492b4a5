"""Squared norms of the gradients of single examples, at about the cost of one gradient of them all.

The weight gradient of one example in a linear layer z = W a + b is d a', with d = dl/dz. So its squared norm is
||d||^2 ||a||^2, and no example's gradient need be formed. Source: Goodfellow 2015, Efficient per-example gradient
computations; sequences and convolutions: Li, Tramer, Liang & Hashimoto 2022, section 4; Bu, Mao & Xu 2022.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.utils.hooks import RemovableHandle

from thalweg.contracts.calls import called_with
from thalweg.contracts.losses import CrossEntropy, OutputLoss
from thalweg.contracts.objective import Objective
from thalweg.contracts.problem import Batch
from thalweg.contracts.supervised import Supervised
from thalweg.curvature.per_example_layers import Rule, rule
from thalweg.curvature.vectors import flat

NUMBERS = 2**22
"""The most numbers in the outputs of all modules in one pass: 16 MiB in float32."""
HELD = 2**24
"""The most numbers in the gradients of single examples that are formed at once."""


@dataclass(frozen=True)
class ExampleGradients:
    """Of N examples, in float64."""

    squares: Tensor
    """The squared norm of each example's gradient, shape (N,)."""
    mean: Tensor
    """The gradient of the mean loss, shape (P,)."""


def example_gradients(objective: Objective, checked: bool = False) -> ExampleGradients | None:
    """Squared norms of the gradients of the current batch's examples, and their mean.

    Linear, convolutional, normalisation and embedding layers have a rule each. ``torch.func.vmap`` of the gradient
    covers the other parameters: those of other modules, of modules that are called several times, and parameters that
    are used in several places.

    Args:
        objective: its batch holds the examples, all in one pass.
        checked: whether ``examples_at_once`` has found that single examples have gradients.

    Returns:
        None where single examples have no gradient, or where it cannot be had this way: the loss is no mean over
        examples, an example's output depends on the others (batch statistics), or ``vmap`` cannot batch an operation.
    """
    if not checked and not examples_at_once(objective):
        return None
    loss, watched = _forward(objective)
    squares = torch.zeros(objective.batch.size, dtype=torch.float64, device=loss.device)
    free, covered = set(map(id, objective.parameters)), set()
    handles = []
    for layer, its_rule in _rules(loss, watched, objective).items():
        own = {name: id(p) for name, p in layer._parameters.items() if id(p) in free}
        covered |= set(own.values())
        if own:
            handles.append(watched[layer][0].when_it_goes_back(partial(_add, squares, its_rule, layer, set(own))))
    objective.counts.add_gradient(objective.batch.size)
    try:
        with objective.going_back():
            gradients = torch.autograd.grad(loss, objective.parameters, materialize_grads=True)
    finally:
        for handle in handles:
            handle.remove()
    others = {name: p for name, p in objective.module.named_parameters() if id(p) in free - covered}
    if others:
        more = _by_vmap(objective, others)
        if more is None:
            return None
        squares += more
    return ExampleGradients(squares, flat(gradients).detach().double() / objective.batch.size)


def examples_at_once(objective: Objective) -> int:
    """How many examples a pass may take for its activations to hold no more than ``NUMBERS`` numbers; at least 1.

    Returns:
        0 where single examples have no gradient: see ``example_gradients``. The first example's output must be the same
        with and without another example, up to rounding.
    """
    if not _is_mean_over_examples(objective):
        return 0
    problem, batch, module = objective.problem, objective.batch, objective.module
    assert batch.inputs is not None
    assert batch.targets is not None
    numbers = 0

    def count(_: nn.Module, __: object, output: object) -> None:
        nonlocal numbers
        numbers += output.numel() if isinstance(output, Tensor) else 0

    pair = Batch(batch.inputs[:2], batch.targets[:2], len(batch.inputs[:2]))
    one = Batch(batch.inputs[:1], batch.targets[:1], 1)
    with torch.no_grad():
        try:
            together = problem.outputs(module, pair)[:1]
            handles = [part.register_forward_hook(count) for part in module.modules()]
            try:
                alone = problem.outputs(module, one)
            finally:
                for handle in handles:
                    handle.remove()
        except (RuntimeError, ValueError):  # batch statistics of one example
            return 0
    slack = torch.finfo(together.dtype).eps ** 0.5
    close = {"rtol": slack, "atol": slack * float(together.abs().max()), "equal_nan": True}
    if together.shape != alone.shape or not torch.allclose(together, alone, **close):
        return 0
    return max(1, NUMBERS // max(1, numbers))


@dataclass(frozen=True)
class _Call:
    inputs: Tensor
    """With examples first."""
    edge: GradientEdge
    """Where the gradient of the output arrives, even if a later operation changes the output in place."""

    def when_it_goes_back(self, function: Callable[[Tensor, Tensor], None]) -> RemovableHandle:
        """Call a function with the inputs and the gradient of the output, while both are in the processor's cache."""

        def before(gradients: tuple[Tensor | None, ...]) -> None:
            d = gradients[self.edge.output_nr]
            if d is not None:
                function(self.inputs, d)

        return self.edge.node.register_prehook(before)


def _add(squares: Tensor, rule: Rule, layer: nn.Module, free: Set[str], a: Tensor, d: Tensor) -> None:
    with torch.no_grad():
        squares += rule(layer, a, d, free).double()


_Watched = dict[nn.Module, list[_Call]]


def _forward(objective: Objective) -> tuple[Tensor, _Watched]:
    """The sum of the examples' losses with its graph, and the calls of the layers that have a rule."""
    watched: _Watched = {}

    def watch(layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> None:
        inputs = args[0] if args else next(iter(kwargs.values()))
        if output.requires_grad:
            watched.setdefault(layer, []).append(_Call(inputs.detach(), get_gradient_edge(output)))

    layers = [layer for layer in objective.module.modules() if rule(layer) is not None]
    # before other hooks, which may change the output
    handles = [layer.register_forward_hook(watch, prepend=True, with_kwargs=True) for layer in layers]
    try:
        with torch.enable_grad():
            outputs = objective.outputs()
            loss = objective.output_loss.per_example(outputs, objective.targets).sum()
    finally:
        for handle in handles:
            handle.remove()
    return loss, watched


def _rules(loss: Tensor, watched: _Watched, objective: Objective) -> dict[nn.Module, Rule]:
    """The layers whose rule holds: called once, with examples first, and no parameter used anywhere else."""
    uses, n, found = _uses(loss), objective.batch.size, {}
    for layer, calls in watched.items():
        trained = [p for p in layer._parameters.values() if p is not None and p.requires_grad]
        alone = len(calls) == 1 and all(uses[p] <= 1 and p.is_floating_point() for p in trained)
        its_rule = rule(layer)
        if not calls or its_rule is None or "forward" in vars(layer):
            continue
        if alone and len(calls[0].inputs) == n and not _is_ambiguous(layer, calls[0].inputs, n):
            found[layer] = its_rule
    return found


def _is_ambiguous(layer: nn.Module, inputs: Tensor, n: int) -> bool:
    """Whether examples may not come first: a position's dimension, which may come first too, has their number.

    Convolutions and batch norm take examples first in any case.
    """
    if not isinstance(layer, nn.Linear | nn.LayerNorm | nn.Embedding):
        return False
    between = inputs.shape[1:] if isinstance(layer, nn.Embedding) else inputs.shape[1:-1]
    return n in between


def _uses(loss: Tensor) -> Counter[Tensor]:
    """How often each parameter enters the graph."""
    uses: Counter[Tensor] = Counter()
    waiting, seen = [loss.grad_fn], {loss.grad_fn}
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        for before, _ in node.next_functions:
            if before is None:
                continue
            if hasattr(before, "variable"):
                uses[before.variable] += 1
            elif before not in seen:
                seen.add(before)
                waiting.append(before)
    return uses


def _by_vmap(objective: Objective, parameters: dict[str, nn.Parameter]) -> Tensor | None:
    """Each example's squared norm over some parameters, shape (N,), from the gradients of single examples."""
    module, batch = objective.module, objective.batch
    given = {name: parameter.detach() for name, parameter in parameters.items()}

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        outputs: Tensor = called_with(module, weights, x[None])
        return objective.output_loss.per_example(outputs, y[None])[0]

    def square(x: Tensor, y: Tensor) -> Tensor:
        gradients = torch.func.grad(loss)(given, x, y)
        return torch.stack([g.abs().double().square().sum() for g in gradients.values()]).sum()

    assert batch.inputs is not None
    assert batch.targets is not None
    chunk = max(1, HELD // sum(parameter.numel() for parameter in parameters.values()))
    objective.counts.examples += batch.size
    objective.counts.backward += batch.size
    try:
        with torch.no_grad():  # which torch.func.grad leaves to others
            found: Tensor = torch.func.vmap(square, chunk_size=chunk)(batch.inputs, batch.targets)
    except RuntimeError:  # an operation that cannot be batched
        return None
    return found


def _is_mean_over_examples(objective: Objective) -> bool:
    problem, batch = objective.problem, objective.batch
    if not isinstance(problem, Supervised) or batch.inputs is None or batch.targets is None or objective.l2:
        return False
    loss = type(problem.output_loss)
    own = type(problem).loss is Supervised.loss and type(problem).outputs is Supervised.outputs
    return own and loss.mean in (OutputLoss.mean, CrossEntropy.mean) and objective.clip_norm is None

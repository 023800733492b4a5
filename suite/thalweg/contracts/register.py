"""The types of ``register`` in ``thalweg_register_optimizers``, for type checkers and editors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

from thalweg.contracts.optimizer import Optimizer

if TYPE_CHECKING:
    import torch


class RegisterOptimizer(Protocol):
    """Takes an optimizer, or a ``torch.optim.Optimizer`` class with what its signature does not say."""

    @overload
    def __call__(self, component: Optimizer | type[Optimizer], /) -> None: ...

    @overload
    def __call__(
        self,
        component: type[torch.optim.Optimizer],
        /,
        *,
        name: str | None = None,
        summary: str = "",
        source: str = "",
        elementwise: bool = False,
        search: Mapping[str, tuple[float, float]] = ...,
        choices: Mapping[str, Sequence[str]] = ...,
        closure: bool | Literal["with gradients"] | None = None,
        create_graph: bool | None = None,
        modes: bool | None = None,
        groups: Callable[[torch.nn.Module], Any] | None = None,
        **defaults: Any,
    ) -> None:
        """Register a class of torch's kind.

        Args:
            component: the class.
            name: what benchmarks call it; the class's name in lower case where None.
            summary: one line; the first line of the class's docstring where empty.
            source: the paper, or where else the method is described.
            elementwise: whether a weight's update uses the gradients and the state of this weight only.
            search: by hyperparameter the two ends of the range that tuning searches.
            choices: by argument the words that it may be.
            closure: whether ``step`` is given a closure; ``"with gradients"`` where ``step`` also reads gradients in
                place. None: found out.
            create_graph: whether gradients keep their graph. None: found out.
            modes: whether ``train()`` and ``eval()`` are called. None: found out.
            groups: a function from the network to what the class takes first.
            defaults: defaults of the class's arguments.
        """
        ...

    def note(self, text: str) -> None:
        """Add a line about the plugin to ``thalweg plugins``, such as which package is missing; no error."""

    def absent(self, name: str, reason: str) -> None:
        """Say why an optimizer of this name is not registered here; who asks for the name reads the reason."""

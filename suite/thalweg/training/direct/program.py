"""The forward and backward pass of a network, or of K members, as a list of operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from torch import Tensor

from thalweg.training.direct.common import Elementwise
from thalweg.training.direct.graph import Step
from thalweg.training.direct.layer import Changes, Layer


class Program:
    """Maps inputs to outputs, and the outputs' gradient to the gradients of all weights.

    Args:
        steps: the operations, in order; the last one gives the outputs.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = list(steps)
        uses = Counter(place for step in steps for place in step.inputs)
        trains = [False]
        fresh = [False]
        for step in self.steps:
            if isinstance(step.layer, Elementwise):
                (place,) = step.inputs
                step.layer.overwrites = fresh[place] and uses[place] == 1
            trains.append(step.layer.trains or any(trains[place] for place in step.inputs))
            fresh.append(step.layer.fresh)
        self._trains = trains
        """Whether weights before a value train, so that the value's gradient is of use."""
        self._plain = all(step.inputs == (place,) for place, step in enumerate(self.steps))

    def outputs(self, inputs: Tensor, train: bool) -> Tensor:
        """The outputs. In training mode the layers keep what ``backward`` needs."""
        if self._plain:
            for step in self.steps:
                inputs = step.layer.forward(inputs, train=train)
            return inputs
        values = [inputs]
        for step in self.steps:
            values.append(step.layer.forward(*(values[place] for place in step.inputs), train=train))
        return values[-1]

    def backward(self, g: Tensor) -> None:
        """Write the gradients of all weights, from the gradient of the outputs, which may be overwritten."""
        self._back(g, lambda layer, g, wanted: layer.backward(g, wanted))

    def pulled(self, g: Tensor, see: Callable[[Layer, Tensor], None]) -> None:
        """Show the gradient of each layer's result, from the gradient of the outputs. No weight's gradient is written.

        Args:
            g: the gradient of the outputs, which may be overwritten.
            see: called with each layer before whose result weights train, from the last to the first, and the gradient
                of its result.
        """

        def back(layer: Layer, g: Tensor, wanted: bool) -> tuple[Tensor | None, ...]:
            see(layer, g)
            return layer.pulled(g) if wanted else (None,)

        self._back(g, back)

    def tangent(self, weights: Changes) -> Tensor | None:
        """The derivative of the outputs along changes of weights, at the last pass in training; None for no change."""
        values: list[Tensor | None] = [None]
        for step in self.steps:
            values.append(step.layer.tangent([values[place] for place in step.inputs], weights))
        return values[-1]

    def _back(self, g: Tensor, through: Callable[[Layer, Tensor, bool], tuple[Tensor | None, ...]]) -> None:
        """Go from the last layer to the first, and give each the gradient of its result."""
        gradients: dict[int, Tensor] = {len(self.steps): g}
        for place in range(len(self.steps), 0, -1):
            if not self._trains[place] or place not in gradients:
                continue
            step = self.steps[place - 1]
            wanted = any(self._trains[source] for source in step.inputs)
            for source, back in zip(step.inputs, through(step.layer, gradients.pop(place), wanted), strict=True):
                if back is not None and self._trains[source]:
                    # no layer overwrites a gradient that it passes on, so two ways may share one
                    gradients[source] = gradients[source] + back if source in gradients else back

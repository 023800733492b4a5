"""The layers of a chain, each with its own derivatives: see ``thalweg.curvature.chain``.

A layer z = f(a, w) with tangents r of a and v of w has the tangent Rz. With d = dL/dz it gives dL/da and dL/dw, and
with the tangent e of d their tangents. Source: Pearlmutter 1994, section 3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from thalweg.contracts.activations import NOT_ELEMENTWISE
from thalweg.contracts.products import linear, matmul

Places = Sequence[Tensor | None]
"""One tensor for each parameter of a layer; None for a parameter that is not free."""


class Layer(ABC):
    """A layer at one point, for some examples. It keeps what all products share.

    ``forward`` and ``backward`` come first; then ``gradient``, and ``tangent`` and ``tangent_back`` for each product.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    @abstractmethod
    def forward(self, a: Tensor) -> Tensor:
        """The layer's output z."""

    @abstractmethod
    def backward(self, d: Tensor, last: bool) -> Tensor | None:
        """dL/da from d = dL/dz. ``last``: nobody needs dL/da."""

    def gradient(self, into: Places) -> None:  # noqa: B027 - most layers have no parameters
        """Add dL/dw to ``into``, after ``backward``."""

    @abstractmethod
    def tangent(self, r: Tensor | None, v: Places) -> Tensor | None:
        """Rz from the tangents r of the input and v of the parameters; None is zero."""

    @abstractmethod
    def tangent_back(self, e: Tensor, v: Places, into: Places, last: bool) -> Tensor | None:
        """R(dL/da) from e = R(dL/dz); adds R(dL/dw) to ``into``."""


class Linear(Layer):
    """z = a W' + b over the last dimension."""

    def forward(self, a: Tensor) -> Tensor:
        """z."""
        self.weight = self.module.get_parameter("weight").detach()
        self.a = a.flatten(0, -2)
        return linear(self.a, self.weight, _detached(self.module, "bias")).view(*a.shape[:-1], -1)

    def backward(self, d: Tensor, last: bool) -> Tensor | None:
        """dL/da."""
        self.d, self.shape = d.flatten(0, -2), d.shape[:-1]
        return None if last else matmul(self.d, self.weight).view(*self.shape, -1)

    def gradient(self, into: Places) -> None:
        """Add dL/dw."""
        _add_product(into[0], self.d, self.a)
        _add_sum(into[1], self.d)

    def tangent(self, r: Tensor | None, v: Places) -> Tensor | None:
        """Rz."""
        self.r = None if r is None else r.flatten(0, -2)
        if self.r is None and v[0] is None and v[1] is None:
            return None
        found = None if v[1] is None else v[1].repeat(len(self.a), 1)
        if v[0] is not None:
            found = linear(self.a, v[0], v[1])
        if self.r is not None:
            found = matmul(self.r, self.weight.T, found)
        assert found is not None
        return found.view(*self.shape, -1)

    def tangent_back(self, e: Tensor, v: Places, into: Places, last: bool) -> Tensor | None:
        """R(dL/da)."""
        e = e.flatten(0, -2)
        _add_product(into[0], e, self.a)
        if self.r is not None:
            _add_product(into[0], self.d, self.r)
        _add_sum(into[1], e)
        if last:
            return None
        found = matmul(e, self.weight)
        if v[0] is not None:
            matmul(self.d, v[0], found)
        return found.view(*self.shape, -1)


def _add_product(into: Tensor | None, d: Tensor, a: Tensor) -> None:
    if into is not None:
        matmul(d.T, a, into)


def _add_sum(into: Tensor | None, d: Tensor) -> None:
    """The sum over all dimensions but the second one."""
    if into is not None:
        into.add_(d.sum([0, *range(2, d.dim())]))


def _detached(module: nn.Module, name: str) -> Tensor | None:
    parameter = module._parameters[name]
    return None if parameter is None else parameter.detach()


class Convolution(Layer):
    """z = W * a + b, in one to three dimensions."""

    def forward(self, a: Tensor) -> Tensor:
        """z."""
        self.weight, self.a = self.module.get_parameter("weight").detach(), a
        return self._convolved(a, self.weight, _detached(self.module, "bias"))

    def _convolved(self, a: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        it = self.module
        assert isinstance(it, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        none, around = [0] * len(it.stride), padding(it)
        assert around is not None
        return torch.convolution(a, weight, bias, it.stride, around, it.dilation, False, none, it.groups)

    def _back(self, d: Tensor, a: Tensor, weight: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        """The gradients of sum d z in a and in the weight."""
        it = self.module
        assert isinstance(it, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        none, mask = [0] * len(it.stride), [*wanted, False]
        of_a, of_weight, _ = torch.ops.aten.convolution_backward(
            d, a, weight, None, it.stride, padding(it), it.dilation, False, none, it.groups, mask
        )
        return of_a, of_weight

    def backward(self, d: Tensor, last: bool) -> Tensor | None:
        """dL/da."""
        self.d = d
        return None if last else self._back(d, self.a, self.weight, [True, False])[0]

    def gradient(self, into: Places) -> None:
        """Add dL/dw."""
        if into[0] is not None:
            _add(into[0], self._back(self.d, self.a, self.weight, [False, True])[1])
        _add_sum(into[1], self.d)

    def tangent(self, r: Tensor | None, v: Places) -> Tensor | None:
        """Rz."""
        self.r = r
        found = None
        if v[0] is not None:
            found = self._convolved(self.a, v[0], v[1])
        elif v[1] is not None:
            found = v[1].view(-1, *[1] * (self.d.dim() - 2)).expand_as(self.d).clone()
        if r is not None:
            along = self._convolved(r, self.weight, None)
            found = along if found is None else found.add_(along)
        return found

    def tangent_back(self, e: Tensor, v: Places, into: Places, last: bool) -> Tensor | None:
        """R(dL/da)."""
        free = into[0] is not None
        found, of_weight = self._back(e, self.a, self.weight, [not last, free])
        _add(into[0], of_weight)
        _add_sum(into[1], e)
        wanted = [not last and v[0] is not None, free and self.r is not None]
        if any(wanted):
            a, weight = (self.a if self.r is None else self.r), (self.weight if v[0] is None else v[0])
            more, of_weight = self._back(self.d, a, weight, wanted)
            _add(into[0], of_weight)
            _add(found, more)
        return found


def _add(into: Tensor | None, more: Tensor | None) -> None:
    if into is not None and more is not None:
        into.add_(more)


def padding(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> tuple[int, ...] | None:
    """The zeros at either side; None where the two sides differ."""
    if layer.padding == "valid":
        return (0,) * len(layer.stride)
    if layer.padding == "same":
        whole = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        return None if any(each % 2 for each in whole) else tuple(each // 2 for each in whole)
    assert not isinstance(layer.padding, str)
    return layer.padding


class Activation(Layer):
    """z = f(a), number by number, with the derivatives f' and f''."""

    def forward(self, a: Tensor) -> Tensor:
        """z."""
        with torch.enable_grad():
            leaf = a.detach().requires_grad_()
            z = self.module(leaf.clone() if getattr(self.module, "inplace", False) else leaf)
            slope = torch.autograd.grad(z.sum(), leaf, create_graph=True)[0]
            bend = None
            if slope.requires_grad:
                bend = torch.autograd.grad(slope.sum(), leaf, materialize_grads=True)[0]
        self.slope = slope.detach()
        self.bend = bend if bend is not None and bend.any() else None
        found: Tensor = z.detach()
        return found

    def backward(self, d: Tensor, last: bool) -> Tensor | None:
        """dL/da."""
        self.bend = None if self.bend is None else self.bend * d
        return d * self.slope

    def tangent(self, r: Tensor | None, v: Places) -> Tensor | None:
        """Rz."""
        if r is None:
            self.r = None
            return None
        if self.bend is None:
            return r.mul_(self.slope)
        self.r = r
        return r * self.slope

    def tangent_back(self, e: Tensor, v: Places, into: Places, last: bool) -> Tensor | None:
        """R(dL/da)."""
        found = e.mul_(self.slope)
        if self.bend is not None and self.r is not None:
            found.addcmul_(self.bend, self.r)
        return found


class BatchNorm(Layer):
    """z = gamma (a - mean) / sqrt(variance + eps) + beta with running statistics, which are constant."""

    def forward(self, a: Tensor) -> Tensor:
        """z."""
        it = self.module
        assert isinstance(it, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
        assert it.running_mean is not None
        assert it.running_var is not None
        self.a, self.wide = a, [-1, *[1] * (a.dim() - 2)]
        self.mean, self.scale = it.running_mean, (it.running_var + it.eps).rsqrt()
        self.gamma = None if it.weight is None else it.weight.detach()
        self.shrink = (self.scale if self.gamma is None else self.scale * self.gamma).view(self.wide)
        return self._normalized(self.gamma, _detached(it, "bias"))

    def _normalized(self, gamma: Tensor | None, beta: Tensor | None) -> Tensor:
        it = self.module
        assert isinstance(it, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
        return functional.batch_norm(self.a, it.running_mean, it.running_var, gamma, beta, False, 0.0, it.eps)

    def _add_to_gamma(self, into: Tensor | None, d: Tensor) -> None:
        """sum d (a - mean) scale over examples and positions."""
        if into is not None:
            over = [0, *range(2, d.dim())]
            into.addcmul_((d * self.a).sum(over).sub_(self.mean * d.sum(over)), self.scale)

    def backward(self, d: Tensor, last: bool) -> Tensor | None:
        """dL/da."""
        self.d = d
        return d * self.shrink

    def gradient(self, into: Places) -> None:
        """Add dL/dw."""
        self._add_to_gamma(into[0], self.d)
        _add_sum(into[1], self.d)

    def tangent(self, r: Tensor | None, v: Places) -> Tensor | None:
        """Rz."""
        self.r = r
        found = None
        if v[0] is not None:
            found = self._normalized(v[0], v[1])
        elif v[1] is not None:
            found = v[1].view(self.wide).expand_as(self.d).clone()
        if r is not None:
            found = r * self.shrink if found is None else found.addcmul_(r, self.shrink)
        return found

    def tangent_back(self, e: Tensor, v: Places, into: Places, last: bool) -> Tensor | None:
        """R(dL/da)."""
        self._add_to_gamma(into[0], e)
        if into[0] is not None and self.r is not None:
            into[0].addcmul_((self.d * self.r).sum([0, *range(2, e.dim())]), self.scale)
        _add_sum(into[1], e)
        if last:
            return None
        found = e * self.shrink
        return found if v[0] is None else found.addcmul_(self.d, (v[0] * self.scale).view(self.wide))


class MaxPool(Layer):
    """The largest number of each window. Its place is constant near the point."""

    def forward(self, a: Tensor) -> Tensor:
        """z."""
        it = self.module
        assert isinstance(it, nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d)
        pool = getattr(functional, f"max_pool{a.dim() - 2}d")
        z, places = pool(
            a, it.kernel_size, it.stride, it.padding, it.dilation, ceil_mode=it.ceil_mode, return_indices=True
        )
        self.places, self.before, self.after = places.flatten(2), a.shape, z.shape
        return z  # type: ignore[no-any-return]

    def _back(self, d: Tensor) -> Tensor:
        empty = d.new_zeros(*self.before[:2], self.before[2:].numel())
        return empty.scatter_add_(2, self.places, d.flatten(2)).view(self.before)

    def backward(self, d: Tensor, last: bool) -> Tensor | None:
        """dL/da."""
        return self._back(d)

    def tangent(self, r: Tensor | None, v: Places) -> Tensor | None:
        """Rz."""
        return None if r is None else r.flatten(2).gather(2, self.places).view(self.after)

    def tangent_back(self, e: Tensor, v: Places, into: Places, last: bool) -> Tensor | None:
        """R(dL/da)."""
        return self._back(e)


class AveragePool(Layer):
    """A linear map without parameters. Its transpose comes from a graph that all products share."""

    z: Tensor

    def forward(self, a: Tensor) -> Tensor:
        """z."""
        with torch.enable_grad():
            self.leaf = a.detach().requires_grad_()
            self.z = self.module(self.leaf)
        return self.z.detach()

    def _back(self, d: Tensor) -> Tensor:
        return torch.autograd.grad(self.z, self.leaf, d, retain_graph=True)[0]

    def backward(self, d: Tensor, last: bool) -> Tensor | None:
        """dL/da."""
        return self._back(d)

    def tangent(self, r: Tensor | None, v: Places) -> Tensor | None:
        """Rz."""
        if r is None:
            return None
        found: Tensor = self.module(r)
        return found

    def tangent_back(self, e: Tensor, v: Places, into: Places, last: bool) -> Tensor | None:
        """R(dL/da)."""
        return self._back(e)


class Reshape(Layer):
    """The same numbers in another shape."""

    def forward(self, a: Tensor) -> Tensor:
        """z."""
        z: Tensor = self.module(a)
        self.before, self.after = a.shape, z.shape
        return z

    def backward(self, d: Tensor, last: bool) -> Tensor | None:
        """dL/da."""
        return d.reshape(self.before)

    def tangent(self, r: Tensor | None, v: Places) -> Tensor | None:
        """Rz."""
        return None if r is None else r.reshape(self.after)

    def tangent_back(self, e: Tensor, v: Places, into: Places, last: bool) -> Tensor | None:
        """R(dL/da)."""
        return e.reshape(self.before)


KINDS: dict[type[nn.Module], type[Layer]] = {
    nn.Linear: Linear,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), Convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), BatchNorm),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), MaxPool),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), AveragePool),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), AveragePool),
    **dict.fromkeys((nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), Reshape),
}


def kind_of(module: nn.Module) -> type[Layer] | None:
    """The class that computes a module's derivatives; None where there is no such class.

    A batch norm must use running statistics, and a dropout must be in evaluation mode. A subclass counts as unknown,
    because its forward pass may be another.
    """
    kind = KINDS.get(type(module))
    if isinstance(module, nn.Identity) and type(module).forward is nn.Identity.forward:
        return Reshape
    if kind is Convolution:
        assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        return kind if module.padding_mode == "zeros" and padding(module) is not None else None
    if kind is BatchNorm:
        assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
        return None if module.training or module.running_mean is None else kind
    if kind is MaxPool:
        return None if getattr(module, "return_indices", False) else kind
    if kind is Reshape and isinstance(module, nn.modules.dropout._DropoutNd):
        return None if module.training else kind
    if kind is None and type(module).__module__ == "torch.nn.modules.activation":
        alone = not isinstance(module, (*NOT_ELEMENTWISE, nn.RReLU)) and not list(module.parameters())
        return Activation if alone else None
    return kind

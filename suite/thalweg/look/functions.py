"""One function for each question; ``thalweg.look`` says what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from thalweg.errors import UserError
from thalweg.look.measure import Mode, State, look
from thalweg.look.result import Look


def surface(
    module: nn.Module,
    loss: Any = None,
    data: Any = None,
    *,
    initial: State | None = None,
    path: Sequence[State] = (),
    **options: Any,
) -> Look:
    """The loss on a plane through the weights: L(w + x d1 + y d2), by default along two filter-normalised directions.

    Args:
        module: the network; see ``thalweg.look``, like ``loss``, ``data`` and further keywords.
        loss: the loss.
        data: the examples.
        initial: a state dict, for ``directions = "points"``.
        path: state dicts of the way to the weights, in their order: drawn on the plane, and for ``directions =
            "path"`` and ``"points"`` what spans the plane.
        options: ``resolution``, ``extent``, ``directions`` (random, path, hessian, points), ``normalization`` (filter,
            layer, none), ``draws``, ``tolerance``, ``examples``, ``batch_norm`` and further ones: ``thalweg show
            surface``.

    Raises:
        UserError: an option or what is looked at is refused.

    Source: Li et al. 2018, sections 4 and 7.
    """
    directions = options.get("directions")
    if directions == "path" and not path:
        raise UserError("surface: directions = 'path' needs path=, the state dicts of the way")
    if directions == "points" and (initial is None or not path):
        raise UserError("surface: directions = 'points' needs initial= and path=, the state dicts of the way")
    return look("surface", module, loss, data, initial=initial, path=path, **options)


def line(
    module: nn.Module,
    loss: Any = None,
    data: Any = None,
    *,
    initial: State | None = None,
    other: State | None = None,
    **options: Any,
) -> Look:
    """The loss on the straight line from ``initial`` to the weights, or from the weights to ``other``.

    Args:
        module: the network; see ``thalweg.look``, like ``loss``, ``data`` and further keywords.
        loss: the loss.
        data: the examples.
        initial: the state dict where the line begins.
        other: the state dict of a second network, where the line ends.
        options: see ``thalweg show line``.

    Raises:
        UserError: neither end is given, or an option is refused.

    Source: Goodfellow, Vinyals & Saxe 2014, section 3.
    """
    if (initial is None) == (other is None):
        raise UserError("line: give one of initial= (where training began) and other= (a second network)")
    return look("line", module, loss, data, initial=initial, other=other, **options)


def spectrum(module: nn.Module, loss: Any = None, data: Any = None, **options: Any) -> Look:
    """Eigenvalues, trace and spectral density of the Hessian, the GGN or the Fisher matrix.

    Args:
        module: the network; see ``thalweg.look``, like ``loss``, ``data`` and further keywords.
        loss: the loss. GGN and Fisher matrix need cross-entropy, squared error or binary cross-entropy with logits.
        data: the examples; ``examples`` of them are used, 1024 by default, and 0 means all.
        options: ``matrix`` (hessian, ggn, fisher), ``eigenvalues``, ``iterations``, ``draws``, ``vectors``, ``blocks``,
            ``examples``, ``dtype``, ``batch_norm`` and further ones: ``thalweg show spectrum``.

    Raises:
        UserError: an option or what is looked at is refused.

    Source: Ghorbani, Krishnan & Xiao 2019, algorithm 1; Meyer et al. 2021 for the trace.
    """
    return look("spectrum", module, loss, data, **options)


def trace(module: nn.Module, loss: Any = None, data: Any = None, **options: Any) -> Look:
    """The trace of the Hessian, the GGN or the Fisher matrix, with a 95% interval.

    Args:
        module: the network; see ``thalweg.look``, like ``loss``, ``data`` and further keywords.
        loss: the loss. GGN and Fisher matrix need cross-entropy, squared error or binary cross-entropy with logits.
        data: the examples; ``examples`` of them are used, 1024 by default, and 0 means all.
        options: ``matrix`` (hessian, ggn, fisher), ``vectors``, ``blocks``, ``examples``, ``dtype`` and further ones:
            ``thalweg show trace``.

    Raises:
        UserError: an option or what is looked at is refused.

    Source: Hutchinson 1990; Meyer, Musco, Musco & Woodruff 2021.
    """
    return look("trace", module, loss, data, **options)


def sharpness(module: nn.Module, loss: Any = None, data: Any = None, **options: Any) -> Look:
    """The rise of the loss within balls around each filter: the worst from below by ascent, and the Gaussian average.

    Args:
        module: the network; see ``thalweg.look``, like ``loss``, ``data`` and further keywords.
        loss: the loss.
        data: the examples; ``examples`` of them are used, 1024 by default, and 0 means all.
        options: ``rho``, ``steps``, ``restarts``, ``pairs``, ``scale`` (filter, element) and further ones: ``thalweg
            show sharpness``.

    Raises:
        UserError: an option or what is looked at is refused.

    Source: Keskar et al. 2017, section 2.2.2; Kwon et al. 2021.
    """
    return look("sharpness", module, loss, data, **options)


def noise_scale(module: nn.Module, loss: Any = None, data: Any = None, **options: Any) -> Look:
    """The gradient noise scale tr(Sigma) / ||G||^2: the batch size at which noise and gradient are equally large.

    Args:
        module: the network; see ``thalweg.look``, like ``loss``, ``data`` and further keywords.
        loss: the loss.
        data: the examples: a pair of tensors, or what makes one.
        options: ``small``, ``big``, ``draws``: ``thalweg show noise-scale``.

    Raises:
        UserError: an option or what is looked at is refused.

    Source: McCandlish, Kaplan, Amodei et al. 2018, appendix A.1.
    """
    return look("noise-scale", module, loss, data, **options)


def gradient_flow(
    module: nn.Module, loss: Any = None, data: Any = None, *, mode: Mode = "train", **options: Any
) -> Look:
    """Norms of gradients, activations and Jacobians by layer, and dead units, in one pass over the data.

    Args:
        module: the network; see ``thalweg.look``, like ``loss``, ``data`` and further keywords.
        loss: the loss.
        data: the examples of the pass: all of them at once.
        mode: the mode of the pass. In ``"train"`` dropout draws from ``seed``, and batch norm takes the data's own
            statistics.
        options: ``jacobian``, ``tangents``: ``thalweg show gradient-flow``.

    Raises:
        UserError: an option or what is looked at is refused.

    Source: Glorot & Bengio 2010, section 4.2.2; Hanin & Rolnick 2018.
    """
    found = look("gradient-flow", module, loss, data, mode=mode, **options)
    if found.settings["options"]["jacobian"] == "never" or (found.table["quantity"] == "Jacobian norm").any():
        return found
    why = "inputs that are floating-point numbers, and operations with a forward mode of differentiation"
    return replace(found, notes=(f"no Jacobian norms: they need {why}",))


def directions(
    module: nn.Module, loss: Any = None, data: Any = None, *, initial: State | None = None, **options: Any
) -> Look:
    """The loss on lines through the weights: along the gradient, random directions and single layers.

    Args:
        module: the network; see ``thalweg.look``, like ``loss``, ``data`` and further keywords.
        loss: the loss.
        data: the examples.
        initial: the state dict of the start, for lines towards it.
        options: see ``thalweg show directions``.

    Raises:
        UserError: an option or what is looked at is refused.
    """
    return look("directions", module, loss, data, initial=initial, **options)


def mode_connectivity(module: nn.Module, loss: Any = None, data: Any = None, *, other: State, **options: Any) -> Look:
    """The barrier of the loss on the straight line to a second network.

    Args:
        module: the network; see ``thalweg.look``, like ``loss``, ``data`` and further keywords.
        loss: the loss.
        data: the examples.
        other: the state dict of the second network.
        options: see ``thalweg show mode-connectivity``.

    Raises:
        UserError: an option or what is looked at is refused.

    Source: Frankle et al. 2020.
    """
    return look("mode-connectivity", module, loss, data, other=other, **options)

"""The loss at many weight vectors, directions in weight space, and contours of loss surfaces.

Every landscape probe uses ``thalweg.landscape.losses_at``. Importing this package does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.landscape.evaluate import Evaluator, Line, Losses, Plane, Span, flat, flat_from, losses_at

__all__ = ["Evaluator", "Line", "Losses", "Plane", "Span", "flat", "flat_from", "losses_at"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from thalweg.landscape import evaluate

    return getattr(evaluate, name)

"""Reasons for which an optimizer cannot train a problem."""

from __future__ import annotations

from thalweg import Shape


def no_outputs(shape: Shape) -> str | None:
    """Why a method whose matrix needs a model's outputs does not fit, as the end of a sentence."""
    if shape.task == "function":
        return "its matrix needs a model's outputs, and this problem is an analytic function: use 'newton'"
    return None

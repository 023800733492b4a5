"""Why an optimizer cannot train a problem."""

from __future__ import annotations

from thalweg import Shape


def no_outputs(shape: Shape) -> str | None:
    """Why a method whose matrix is made of outputs does not fit, as the end of a sentence."""
    if shape.task == "function":
        return "its matrix is made of a model's outputs, and this problem is an analytic function: 'newton' fits it"
    return None

#!/usr/bin/env bash
# torch 2.13.0: torch.autograd.grad leaves a once_differentiable function out of a second derivative, without a word.
#
# torch.autograd.function.once_differentiable promises an error where somebody differentiates its backward pass. The error
# sits behind the gradient as a node that leads to no leaf. backward() visits every node and raises. torch.autograd.grad
# visits only nodes on a path to its inputs: it never meets the error, and returns the derivative of the other terms.
# Where the gradient that comes in is constant there is no error node at all, and backward() is silent too.
#
# Seen with torch 2.13.0, Python 3.11, at w = 2, with a once differentiable cube c(w):
#   c(w)^2 + w^2, second derivative 482: grad 2.0, backward() raises
#   c(w) + w^2,   second derivative  14: grad 2.0, backward() 2.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PY'
import torch


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 3 * x * x * gradient


def second(f, backward):
    w = torch.tensor(2.0, requires_grad=True)
    (slope,) = torch.autograd.grad(f(w), w, create_graph=True)
    try:
        if not backward:
            return torch.autograd.grad(slope, w)[0].item()
        slope.backward()
        return w.grad.item()
    except RuntimeError as error:
        return str(error)


def squared(w):
    return Cube.apply(w) ** 2 + w**2


def plain(w):
    return Cube.apply(w) + w**2


found = {(f.__name__, how): second(f, how == "backward") for f in (squared, plain) for how in ("grad", "backward")}
print(f"torch {torch.__version__}: {found}")
assert found["squared", "grad"] == 2.0, "torch.autograd.grad does not leave it out any more"
assert "once_differentiable" in found["squared", "backward"]
assert found["plain", "grad"] == found["plain", "backward"] == 2.0
PY

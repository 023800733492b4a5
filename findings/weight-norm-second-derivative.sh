#!/usr/bin/env bash
# torch 2.13.0, CPU: the Hessian of a network with weight normalisation is wrong, without a word.
#
# nn.utils.parametrizations.weight_norm computes g v / ||v|| in a fused kernel. The kernel's backward pass is
# differentiable, but its derivative takes the norm for a constant: double backward gives a matrix that is not symmetric
# and far from finite differences of the (right) gradient. The same formula in plain operations is right.
#
# Seen with torch 2.13.0, numpy 2.4.6, Python 3.11:
#   largest entry 8.26; off from finite differences: fused 16.3, plain below 1e-8; asymmetry of the fused one 8.12
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PY'
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(5, 4, dtype=torch.float64)
layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3, dtype=torch.float64, bias=False))
g, v = (p.detach() for p in layer.parametrizations.weight.parameters())
numbers = torch.cat([g.flatten(), v.flatten()])


def split(flat):
    return flat[: g.numel()].view_as(g), flat[g.numel() :].view_as(v)


def fused(flat):
    return torch.tanh(x @ torch._weight_norm(split(flat)[1], split(flat)[0], 0).T).square().sum()


def plain(flat):
    g, v = split(flat)
    return torch.tanh(x @ (v * (g / v.norm(dim=1, keepdim=True))).T).square().sum()


def gradient(f, at, create_graph=False):
    at = at.clone().requires_grad_()
    return at, torch.autograd.grad(f(at), at, create_graph=create_graph)[0]


def hessian(f):
    at, first = gradient(f, numbers, create_graph=True)
    return torch.stack([torch.autograd.grad(each, at, retain_graph=True)[0] for each in first])


assert torch.equal(layer.weight, torch._weight_norm(v, g, 0)), "the module does not use the kernel any more"
eye = torch.eye(len(numbers), dtype=torch.float64) * 1e-6
numeric = torch.stack([(gradient(fused, numbers + e)[1] - gradient(fused, numbers - e)[1]) / 2e-6 for e in eye])
off = {f.__name__: float((hessian(f) - numeric).abs().max()) for f in (fused, plain)}
skew = float((hessian(fused) - hessian(fused).T).abs().max())
print(f"torch {torch.__version__}: largest entry {float(numeric.abs().max()):.3g}; off from finite differences: {off}")
print(f"asymmetry of the fused one: {skew:.3g}")
assert off["plain"] < 1e-6
assert off["fused"] > 1, "the second derivative of weight normalisation is right now"
assert skew > 1
PY

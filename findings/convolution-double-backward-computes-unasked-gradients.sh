#!/usr/bin/env bash
# torch 2.13.0: differentiating the gradients of convolutions computes gradients that nobody asks for.
#
# J'u of a network with respect to its weights, and then the derivative of that along u in another direction v, is a way
# to compute J v. Dense layers need one product a layer for each direction. For convolutions, torch's double backward
# also computes the derivatives with respect to the input and to the weight, which no one asked for. So the same product
# with a Jacobian costs a convolutional network twice the operations that the mathematics needs, and a count of
# operations by this way says that curvature is dearer than it is.
#
# Seen with torch 2.13.0, numpy 2.4.6, Python 3.11: two convolutions take 2.00 times the operations of the products that
# the mathematics needs, two dense layers 1.00 times
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PY'
import torch
from torch import nn
from torch.func import functional_call, jvp
from torch.utils.flop_counter import FlopCounterMode


def counted(run):
    with FlopCounterMode(display=False) as counter:
        result = run()
    return counter.get_total_flops(), result


def ratio(first, second, inputs):
    """The operations of J v by double backward, over those of v1 x, W2 (v1 x) and v2 h, each a forward pass of a layer."""
    network = nn.Sequential(first, nn.ReLU(), second)
    names, parameters = zip(*network.named_parameters())
    along = [torch.randn_like(parameter) for parameter in parameters]
    one, hidden = counted(lambda: first(inputs))
    two, outputs = counted(lambda: second(hidden))
    outputs = network(inputs)
    u = torch.zeros_like(outputs, requires_grad=True)
    pulled = torch.autograd.grad(outputs, parameters, u, create_graph=True)
    twice, product = counted(lambda: torch.autograd.grad(pulled, u, along)[0])
    run = lambda *values: functional_call(network, dict(zip(names, values)), (inputs,))
    assert torch.allclose(product, jvp(run, parameters, tuple(along))[1], rtol=1e-4, atol=1e-5)
    return twice / (one + 2 * two)


torch.manual_seed(0)
convolutions = ratio(nn.Conv2d(1, 4, 3, bias=False), nn.Conv2d(4, 8, 3, bias=False), torch.randn(2, 1, 12, 12))
dense = ratio(nn.Linear(16, 12, bias=False), nn.Linear(12, 8, bias=False), torch.randn(2, 16))
print(f"torch {torch.__version__}: convolutions {convolutions:.2f}, dense layers {dense:.2f}")
assert convolutions > 1.5
assert dense == 1.0
PY

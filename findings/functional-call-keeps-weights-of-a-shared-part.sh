#!/usr/bin/env bash
# torch 2.13.0: functional_call leaves the given weights in a network that has one part under two names.
#
# torch.func.functional_call calls a module with other weights, and puts the module's own back. Where a part of the
# network has two names (self.second = self.first), the default tie_weights=True swaps the weight under both names: the
# second swap takes the tensor of the first one for the module's own, and that tensor is what is put back last. So the
# network computes with the given weights from then on, and an optimizer that holds its parameters no longer moves it.
# Under vmap a batched tensor stays in the network after vmap has ended. Two parts that share one weight are put back
# rightly, and so is everything with tie_weights=False.
#
# Seen with torch 2.13.0, Python 3.11: after a call with zeros the network gives 0 in place of 4.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PY'
import torch
from torch import nn
from torch.func import functional_call


class Net(nn.Module):
    def __init__(self, shares):
        super().__init__()
        self.first = nn.Linear(1, 1, bias=False)
        self.second = self.first if shares == "part" else nn.Linear(1, 1, bias=False)
        self.second.weight = self.first.weight
        nn.init.constant_(self.first.weight, 2.0)

    def forward(self, inputs):
        return self.second(self.first(inputs))


def kept(shares, **options):
    net = Net(shares)
    own = net.first.weight
    zeros = {name: torch.zeros_like(value) for name, value in net.named_parameters()}
    called = functional_call(net, zeros, (torch.ones(1, 1),), **options).item()
    return called, net(torch.ones(1, 1)).item(), net.first.weight is own


assert kept("weight") == (0.0, 4.0, True)
assert kept("part", tie_weights=False) == (0.0, 4.0, True)
found = kept("part")
print("called with zeros, its own afterwards, its own weight is back:", found)
assert found == (0.0, 0.0, False)
print(f"torch {torch.__version__}")
PY

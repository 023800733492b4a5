#!/usr/bin/env bash
# torch 2.13.0: after vector_to_parameters, training moves the vector too.
#
# A study of loss landscapes keeps the first weights as a vector, loads the vector into a network, trains, and draws the
# loss on the line from the first to the last weights. torch.nn.utils.vector_to_parameters makes the parameters views of
# the vector. Optimizers step in place, so the kept vector follows the training, the line has length zero, and every
# point of it has the last loss. parameters_to_vector copies, so a round trip is no warning. Two networks that are
# loaded from one vector are one network from then on.
#
# Seen with torch 2.13.0, numpy 2.4.6, Python 3.11: the kept vector is the last weights, to the bit, and the second
# network has moved as far as the first
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PY'
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

torch.manual_seed(0)
network, other = nn.Linear(4, 1), nn.Linear(4, 1)
start = parameters_to_vector(network.parameters()).detach()
kept = start.clone()
vector_to_parameters(start, network.parameters())
vector_to_parameters(start, other.parameters())
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
for _ in range(20):
    optimizer.zero_grad()
    network(torch.ones(8, 4)).square().mean().backward()
    optimizer.step()
final = parameters_to_vector(network.parameters()).detach()
print(f"torch {torch.__version__}: trained by {float((final - kept).norm()):.3f}, from the kept vector by "
      f"{float((final - start).norm()):.3f}; the other network moved by "
      f"{float((parameters_to_vector(other.parameters()) - kept).norm()):.3f}")
assert (final - kept).norm() > 0.1
assert torch.equal(final, start)
assert torch.equal(parameters_to_vector(other.parameters()), final)
PY

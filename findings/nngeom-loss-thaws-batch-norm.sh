#!/usr/bin/env bash
# nngeom 0.2.0: to measure a loss puts frozen batch norm back into training, and a Hessian moves its statistics.
#
# Fine-tuning keeps batch norm in evaluation mode within a network that trains. Model.loss sets the network to
# evaluation mode and then the whole of it to the mode of its root, so that every frozen layer trains from then on.
# Surfaces, barriers and sharpness call it at each point. hvp, which spectra and traces call, stays in the mode of the
# network: after one loss the same product is another one, and each product moves the running statistics.
#
# Seen with nngeom 0.2.0, torch 2.13.0, numpy 2.4.6, Python 3.11:
#   batch norm trains after one loss; the same product changes by 65% of itself; running means move by 0.05
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/pip" install --quiet --no-deps nngeom==0.2.0
"$folder/env/bin/python" - <<'PY'
import nngeom
import numpy as np
import torch
from torch import nn

torch.manual_seed(0)
x, y = 2 * torch.randn(20, 6), torch.randint(3, (20,))
network = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)).train()
network[1].eval()
means = network[1].running_mean.clone()
model = nngeom.Model(network, loss_fn=lambda m, batch: nn.functional.cross_entropy(m(batch[0]), batch[1]))
v = np.random.default_rng(0).standard_normal(model.num_parameters)
before = model.hvp((x, y), v)
unmoved = bool(torch.equal(means, network[1].running_mean))
model.loss((x, y))
after = model.hvp((x, y), v)
off = float(np.linalg.norm(after - before) / np.linalg.norm(before))
moved = float((network[1].running_mean - means).abs().max())
print(f"batch norm trains: {network[1].training}; product changed by {off:.0%}; running means moved by {moved:.2f}")
assert unmoved
assert network[1].training, "a frozen layer stays frozen now"
assert off > 0.1
assert moved > 0
PY

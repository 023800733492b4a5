#!/usr/bin/env bash
# curvlinops 3.0.1: the check of the total loss compares the losses of the last batch, and refuses loaders that shuffle.
#
# A linear operator goes through its data twice when it is made, and refuses data and models that are not deterministic.
# For Hessians the order of the data does not matter, and the documentation says that total loss and gradient are
# compared. Totals are added up, but the losses that are compared are those of the last pair of batches. So a loader
# that shuffles is refused with "Check for deterministic total loss failed." where both totals are equal to rounding,
# and the product of an unchecked operator is exact. A loader with one batch passes.
#
# Seen with curvlinops-for-pytorch 3.0.1, torch 2.13.0, numpy 2.4.6, Python 3.11:
#   batches of 10 of 20 examples: refused; totals 1.2838 and 1.2838; off from the exact product by 1e-16
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/pip" install --quiet curvlinops-for-pytorch==3.0.1 torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" -W ignore - <<'PY'
import contextlib
import io

import torch
from curvlinops import HessianLinearOperator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, y = torch.randn(20, 4, dtype=torch.float64), torch.randint(3, (20,))
network = nn.Linear(4, 3, dtype=torch.float64)


def operator(data, **more):
    return HessianLinearOperator(network, nn.CrossEntropyLoss(), list(network.parameters()), data, **more)


def loader(size):
    return DataLoader(TensorDataset(x, y), size, shuffle=True)


try:
    with contextlib.redirect_stdout(io.StringIO()):
        operator(loader(10))
except RuntimeError as error:
    said = str(error)
else:
    said = "accepted"
operator(loader(20))
unchecked = operator(loader(10), check_deterministic=False)
totals = [sum(float(one) for _, _, one, _ in unchecked.data_prediction_loss_gradient()) for _ in range(2)]
v = torch.randn(15, dtype=torch.float64)
off = float((unchecked @ v - operator([(x, y)]) @ v).norm())
print(f"batches of 10 of 20 examples: {said} totals {totals}; off from the exact product by {off:.1g}")
assert abs(totals[0] - totals[1]) < 1e-12
assert off < 1e-12
assert "total loss failed" in said, "a loader that shuffles is accepted now"
PY

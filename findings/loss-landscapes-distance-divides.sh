#!/usr/bin/env bash
# loss-landscapes 3.0.6: a larger distance makes a smaller plane, and random directions have no negative number.
#
# random_line and random_plane take "distance: maximum distance in parameter space from the start point". The length of
# a direction is ||w|| / distance / steps: with distance 10 the plane is a tenth as wide as with distance 1. The first
# direction is drawn uniformly from [0, 1), so that all weights rise together; two such directions have a cosine of about
# 3/4, and the "random" direction is for the most part the constant one.
#
# Seen with loss-landscapes 3.0.6, torch 2.13.0, numpy 2.4.6, Python 3.11, on the function ||w - w_0|| / ||w_0||:
#   largest on a line: 1.0 with distance 1, 0.1 with distance 10; cosine of two lines' directions 0.74; no weight falls
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/pip" install --quiet --no-deps loss-landscapes==3.0.6
"$folder/env/bin/python" - <<'PY'
import loss_landscapes
import torch
from loss_landscapes.metrics import Metric
from torch import nn

torch.manual_seed(0)
network = nn.Linear(100, 10)
start = network.weight.detach().clone()
ends = []


class Distance(Metric):
    def __call__(self, model):
        moved = model.modules[0].weight.detach() - start
        ends.append(moved.clone())
        return float(moved.norm() / start.norm())


def largest(distance):
    found = loss_landscapes.random_line(network, Distance(), distance, 10, None, deepcopy_model=True)
    return found.max()


near, far = largest(1), largest(10)
cosine = float(torch.cosine_similarity(ends[9].flatten(), ends[-1].flatten(), dim=0))
print(f"largest on a line: {near:.2f} with distance 1, {far:.2f} with distance 10; cosine {cosine:.2f}; "
      f"weights that fell: {int((ends[9] < 0).sum())} of {start.numel()}")
assert far < near / 5, "a larger distance reaches farther now"
assert cosine > 0.6
PY

#!/usr/bin/env bash
# loss-landscapes 3.0.6: neighbouring rows of a plane are evaluated one step apart along the second direction.
#
# planar_interpolation (and random_plane, by the same loop) walks to and fro along the second direction. It moves before
# it evaluates on the way there, and also before it evaluates on the way back. So even rows hold the points 1 to n of
# the second direction, and odd rows 0 to n - 1. A surface compared point by point with another library's differs by
# this shift, and every contour has teeth.
#
# Seen with loss-landscapes 3.0.6, torch 2.13.0, numpy 2.4.6, Python 3.11, on the linear function 100 w0 + w1:
#   [[1, 2, 3, 4], [100, 101, 102, 103], [201, 202, 203, 204], [300, 301, 302, 303]]
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


def network(*weights):
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.data = torch.tensor([weights])
    return layer


class Linear(Metric):
    def __call__(self, model):
        w0, w1 = next(iter(next(iter(model.parameters())))).detach().flatten().tolist()
        return 100 * w0 + w1


ends = network(0.0, 0.0), network(4.0, 0.0), network(0.0, 4.0)
found = loss_landscapes.planar_interpolation(*ends, Linear(), steps=4, deepcopy_model=True)
print(found.astype(int).tolist())
first = (found[:, 0] - found[:, 0].round(-2)).tolist()
assert first == [1.0, 0.0, 1.0, 0.0], "the rows begin at one point of the second direction now"
PY

#!/usr/bin/env bash
# torch 2.13.0: normal_ on a tensor without content imports torch's compiler and sympy; uniform_ does not.
#
# The meta device is used to count a network's parameters without making them. Drawing normal numbers there runs a
# reference in Python that is marked as closed to torch.compile, and the mark imports torch._dynamo at its first call:
# about 800 modules, sympy among them, for a second of processor time. A program that counts networks in forked
# processes pays it in each of them. The first optimizer of a process pays it too, by the same mark on add_param_group.
#
# Seen with torch 2.13.0, numpy 2.4.6, Python 3.11: 1 module after uniform_, 820 after normal_; 820 after SGD([parameter])
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PY'
import sys

import torch

before = set(sys.modules)
with torch.device("meta"):
    weight = torch.empty(3, 3).uniform_()
    uniform = len(set(sys.modules) - before)
    assert "torch._dynamo" not in sys.modules
    weight.normal_()
normal = len(set(sys.modules) - before)
print(f"torch {torch.__version__}: {uniform} modules after uniform_, {normal} after normal_")
assert uniform < 20
assert normal > 400, "normal_ no longer imports the compiler"
assert {"torch._dynamo", "sympy"} <= set(sys.modules)
PY
"$folder/env/bin/python" - <<'PY'
import sys

import torch

assert "torch._dynamo" not in sys.modules
torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
assert "torch._dynamo" in sys.modules, "an optimizer no longer imports the compiler"
PY

#!/usr/bin/env bash
# torch 2.13.0: Optimizer.load_state_dict turns a word in a parameter's state into the text of a generator object.
#
# What is loaded is cast to the parameter's precision, and everything that can be iterated over is rebuilt from its cast
# items by its own class: type(value)(cast(item) for item in value). For a list this works. str(generator) is
# '<generator object ...>', so an optimizer that keeps a word beside its tensors (an einsum rule, the name of a mode) goes
# on with another word after a resume. Tensors in such a list are cast too: float32 ones to float64 in a float64 model.
#
# Seen with torch 2.13.0, Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PY'
import torch

parameter = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
before = torch.optim.SGD([parameter], lr=0.1)
before.state[parameter] = {"rule": "ab,bc->ac", "factors": [torch.ones(2)], "count": 3}
after = torch.optim.SGD([parameter], lr=0.1)
after.load_state_dict(before.state_dict())
loaded = after.state[parameter]
print(f"torch {torch.__version__}: {loaded['rule']!r}, factors in {loaded['factors'][0].dtype}, count {loaded['count']}")
assert loaded["count"] == 3
assert "generator object" in loaded["rule"], "words are loaded as they were saved now"
assert loaded["factors"][0].dtype == torch.float64
PY

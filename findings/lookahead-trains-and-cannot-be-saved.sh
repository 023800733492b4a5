#!/usr/bin/env bash
# torch-optimizer 0.3.0 with torch 2.13.0: Lookahead trains, obeys schedulers, and has no state_dict.
#
# The wrapper is a torch.optim.Optimizer whose constructor does not call torch's. Since torch 2.0 state_dict and
# load_state_dict look for hooks that torch's constructor makes. step and learning-rate schedulers need no such hooks. So
# a training runs to its end, and the first checkpoint fails. A loop that saves only the best weights never notices, and
# a training that is interrupted cannot go on: the slow weights are lost.
#
# Seen with torch-optimizer 0.3.0, torch 2.13.0, Python 3.11: seven steps train, a scheduler sets the inner rate, and
# state_dict raises AttributeError about _optimizer_state_dict_pre_hooks
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pytorch_ranger==0.1.1
"$folder/env/bin/pip" install --quiet --no-deps torch-optimizer==0.3.0
"$folder/env/bin/python" - <<'PY'
import torch
import torch_optimizer
from torch import nn

torch.manual_seed(0)
network = nn.Linear(4, 1)
optimizer = torch_optimizer.Lookahead(torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9), k=5, alpha=0.5)
assert isinstance(optimizer, torch.optim.Optimizer)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
losses = []
for _ in range(7):
    optimizer.zero_grad()
    loss = network(torch.ones(8, 4)).square().mean()
    loss.backward()
    optimizer.step()
    scheduler.step()
    losses.append(float(loss.detach()))
(rate,) = {group["lr"] for group in optimizer.optimizer.param_groups}
assert losses[-1] < losses[0]
assert abs(rate - 0.1 * 0.5**7) < 1e-12
try:
    optimizer.state_dict()
except AttributeError as error:
    assert "_optimizer_state_dict_pre_hooks" in str(error)
    print(f"torch {torch.__version__}: loss {losses[0]:.3f} to {losses[-1]:.3f}, inner rate {rate:g}; state_dict: {error}")
else:
    raise SystemExit("state_dict works now")
PY

#!/usr/bin/env bash
# schedulefree 1.4.1: how often a training is evaluated changes the weights that it trains, in the last bits.
#
# optimizer.eval() interpolates the weights from y to x, and optimizer.train() extrapolates back. The two are inverse but
# for rounding, so each pair leaves other weights than it found: two runs with the same seeds, evaluated after every step
# and at the end only, are different trainings. Whoever wants equal bits copies the weights before eval() and puts them
# back after train().
#
# Seen with schedulefree 1.4.1, torch 2.13.0, Python 3.11: after 50 steps the two runs differ; with copies they are equal.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 schedulefree==1.4.1
"$folder/env/bin/python" - <<'PY'
from importlib.metadata import version

import schedulefree
import torch

torch.set_num_threads(1)


def trained(evaluated: bool, copies: bool) -> torch.Tensor:
    torch.manual_seed(0)
    x, y = torch.randn(64, 5), torch.randn(64, 1)
    model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    optimizer = schedulefree.AdamWScheduleFree(model.parameters(), lr=0.01)
    optimizer.train()
    for _ in range(50):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
        if evaluated:
            kept = [p.detach().clone() for p in model.parameters()]
            optimizer.eval()
            optimizer.train()
            if copies:
                with torch.no_grad():
                    for p, before in zip(model.parameters(), kept):
                        p.copy_(before)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


plain, looked_at, copied = trained(False, False), trained(True, False), trained(True, True)
print(f"schedulefree {version('schedulefree')}, torch {torch.__version__}:", end=" ")
print(f"off by {float((plain - looked_at).abs().max()):.2g}; with copies by {float((plain - copied).abs().max()):.2g}")
assert not torch.equal(plain, looked_at), "evaluation leaves the training alone now"
assert torch.equal(plain, copied)
PY

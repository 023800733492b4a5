"""The optimizer of the example: an implementation of Adam."""

import torch

import thalweg


class MyAdam(torch.optim.Optimizer):
    """Kingma & Ba 2015, algorithm 1."""

    def __init__(self, params, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
        super().__init__(params, {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps})

    @torch.no_grad()
    def step(self, closure=None):
        """One step, from the gradients in ``.grad``."""
        for group in self.param_groups:
            lr, beta1, beta2 = group["lr"], group["beta1"], group["beta2"]
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state.update(step=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
                state["step"] += 1
                m = state["m"].lerp_(p.grad, 1 - beta1)
                v = state["v"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                m = m / (1 - beta1 ** state["step"])
                v = v / (1 - beta2 ** state["step"])
                p.sub_(lr * m / (v.sqrt() + group["eps"]))


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    """Register the optimizer."""
    register(MyAdam, elementwise=True)

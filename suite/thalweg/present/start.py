"""What the start page leads to: questions with their pages, claims with a picture, and an optimizer of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Task(NamedTuple):
    """A question, the page that answers it, and the choices in the page's address."""

    question: str
    page: str
    query: Mapping[str, str | Sequence[str]]
    icon: str


TASKS = (
    Task(
        "Which optimizer is best on digits?",
        "leaderboard",
        {"benchmark": "tuned", "by": "work to target", "only": "digits-mlp"},
        ":material/leaderboard:",
    ),
    Task(
        "What does the loss look like without shortcuts?",
        "landscape",
        {
            "benchmark": "landscapes",
            "probe": "surface (resolution=21, examples=512)",
            "trials": [f"{kind}-{depth} · adam · seed 0" for depth in (20, 56) for kind in ("plain", "residual")],
        },
        ":material/landscape:",
    ),
    Task(
        "Why did a trial diverge?",
        "trials",
        {"benchmark": "tuned", "status": "diverged"},
        ":material/trending_up:",
    ),
    Task("Does batch norm reduce covariate shift?", "claims", {"claim": "G2"}, ":material/gavel:"),
    Task("How do two optimizers compare?", "compare", {}, ":material/balance:"),
    Task("What does a rate do to a path?", "playground", {}, ":material/sports_esports:"),
)
"""The questions that most visitors bring."""

FEATURED = ("K4", "C5", "G2")
"""The claims that the start page shows: one that holds, one that is not reproduced, one that stays open."""

OWN = """import torch

from thalweg import hookimpl


class SignSGD(torch.optim.Optimizer):
    def __init__(self, params, lr=0.01):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(p.grad.sign(), alpha=group["lr"])


@hookimpl
def thalweg_register_optimizers(register):
    register(SignSGD, name="sign-sgd")
"""
"""A whole plugin: an optimizer of one's own."""

OWN_COMMANDS = """thalweg run quick --plugin mine.py --with optimizer=sign-sgd --only optimizer=sign-sgd,adam
thalweg app --plugin mine.py"""
"""The commands that train the optimizer of ``OWN``, in a file ``mine.py``, and show it beside another."""

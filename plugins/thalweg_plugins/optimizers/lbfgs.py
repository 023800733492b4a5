"""L-BFGS."""

from collections.abc import Mapping
from typing import Any

from thalweg import Hyperparameter
from thalweg_plugins.optimizers._declared import Declared, lr


class LBFGS(Declared):
    """w <- w - t B g with B from the last (s, y) pairs and t from a strong-Wolfe line search."""

    name = "lbfgs"
    summary = "limited-memory BFGS with a strong-Wolfe line search; a step is max_iter iterations on one batch"
    equation = "w <- w - t B g,  B from the last history_size pairs s = dw, y = dg;  t by a strong-Wolfe line search"
    source = "Liu & Nocedal 1989; torch.optim.LBFGS"
    torch_name = "LBFGS"
    elementwise = False
    takes_any_gradient = False
    options = (
        lr(1.0, 0.1, 1.0),
        Hyperparameter("max_iter", 5, "[1, inf)", "iterations in one step"),
        Hyperparameter("history_size", 10, "[1, inf)", "pairs that are kept"),
    )

    def arguments(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """Torch's defaults stop early: evaluations are left unlimited and the tolerances next to nothing."""
        iterations = hyperparameters["max_iter"]
        return {
            **hyperparameters,
            "max_eval": 25 * iterations,
            "line_search_fn": "strong_wolfe",
            "tolerance_grad": 0.0,
            "tolerance_change": 1e-60,
        }

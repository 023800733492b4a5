"""AdaGrad in the form of lecture notes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from thalweg import Hyperparameter
from thalweg_plugins.optimizers.options import lr
from thalweg_plugins.optimizers.rule import Rule

if TYPE_CHECKING:
    from torch import Tensor


class AdagradLecture(Rule):
    """AdaGrad with the sum over the gradients *before* this one: r_t = sum_{tau < t} g_tau^2.

    A weight whose sum is zero takes no step, for every eps. The sum is zero at t = 1, and until the weight has seen a
    gradient other than 0. With eps = 0 each weight's step is the step of ``adagrad`` times sqrt(r_(t+1) / r_t). This
    factor has no bound: after much smaller gradients, a large gradient makes a step that is too long by their ratio. So
    the default of eps is large here, and lr / eps bounds the step per unit of gradient.
    """

    name = "adagrad-lecture"
    summary = "AdaGrad whose sum of squares leaves out the current gradient"
    equation = "w <- w - lr g / (sqrt(r) + eps) where r > 0;  r <- r + g^2"
    source = "lecture notes, equation 1; compare Duchi, Hazan & Singer 2011, figure 1"
    cost = "1 gradient evaluation; 1 number of state per parameter"
    slots = ("r",)
    options = (lr(0.01), Hyperparameter("eps", 1e-3, "[0, inf)", "added to the root"))

    def update(self, w: Tensor, g: Tensor, s: SimpleNamespace, c: SimpleNamespace) -> Tensor:
        """Step first, then add to the sum."""
        step = c.lr * g / (s.r.sqrt() + c.eps)
        w = w.where(s.r == 0, w - step)
        s.r = s.r + g.square()
        return w

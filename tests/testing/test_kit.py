"""The conformance kit finds components that do not conform."""

from __future__ import annotations

from pathlib import Path

import pytest

from thalweg.registry import load_registry
from thalweg.testing import checks

WRONG = {
    "closed_forms_are_right": """
class Wrong(thalweg.Problem):
    name, summary, splits = "wrong", "a parabola with the gradient of another", ("train",)

    def shape(self, options):
        return thalweg.Shape("function", (), (2,))

    def load(self, options, context):
        import torch
        from thalweg.contracts.analytic import AnalyticFunction
        return AnalyticFunction(lambda x: x.square().sum(), lambda g: torch.ones(2).double(), gradient=lambda x: x)
""",
    "declares_what_it_loads": """
from thalweg_plugins.problems.digits import Digits

class Wrong(Digits):
    name = "wrong"

    def sizes(self, options):
        return {"train": 1348, "test": 450}
""",
    "starts_above_its_target": """
from thalweg_plugins.problems.digits import Digits

class Wrong(Digits):
    name = "wrong"

    def starting_level(self, options, metric):
        return 0.99
""",
    "evaluates_every_metric": """
class Wrong(thalweg.Problem):
    name, summary, splits = "wrong", "a bowl below zero, on a log scale", ("train",)

    def shape(self, options):
        return thalweg.Shape("function", (), (2,))

    def load(self, options, context):
        import torch
        from thalweg.contracts.analytic import AnalyticFunction
        return AnalyticFunction(lambda x: x.square().sum() - 5, lambda g: torch.rand(2, generator=g).double())
""",
    "leaves_the_model_unchanged": """
class Wrong(thalweg.Probe):
    name, summary, when = "wrong", "scales the data that it looks at", ("end",)
    columns = (thalweg.Column("norm"),)

    def measure(self, context):
        import pandas as pd
        inputs, _ = context.problem.data["train"]
        table = pd.DataFrame({"norm": [float(inputs.sign().norm())]})
        inputs.mul_(0.5)
        return table

    def chart(self, table):
        import altair as alt
        return alt.Chart(table, title="Norm").mark_point().encode(x="norm:Q")
""",
    "leaves_its_input_alone": """
class Wrong(thalweg.Architecture):
    name, summary = "wrong", "shifts its input in place, and back"

    def build(self, options, shape):
        from math import prod
        from torch import nn

        class Shift(nn.Module):
            def forward(self, x):
                x = x.float() if not x.is_floating_point() else x
                return x.clamp_(-1.0, 1.0)

        return nn.Sequential(Shift(), nn.Flatten(), nn.Linear(prod(shape.input), prod(shape.output)))
""",
    "can_be_differentiated_twice": """
class Wrong(thalweg.Architecture):
    name, summary = "wrong", "a square with a gradient of its own, which has none in turn"

    def build(self, options, shape):
        import torch
        from math import prod
        from torch import nn
        from torch.autograd.function import once_differentiable

        class Square(torch.autograd.Function):
            @staticmethod
            def forward(ctx, h):
                ctx.save_for_backward(h)
                return h * h

            @staticmethod
            @once_differentiable
            def backward(ctx, g):
                (h,) = ctx.saved_tensors
                return 2 * g * h

        class Squares(nn.Module):
            def forward(self, h):
                return Square.apply(h)

        return nn.Sequential(
            nn.Flatten(), nn.Linear(prod(shape.input), 32), Squares(), nn.Linear(32, prod(shape.output))
        )
""",
    "repeats_its_output": """
class Wrong(thalweg.Architecture):
    name, summary = "wrong", "dropout that is not declared"

    def build(self, options, shape):
        from math import prod
        from torch import nn
        return nn.Sequential(
            nn.Flatten(), nn.Linear(prod(shape.input), 40), nn.Dropout(), nn.Linear(40, prod(shape.output))
        )
""",
    "stacks": """
import torch
from thalweg.contracts.torch_adapter import TorchOptimizer

class Normalized(torch.optim.SGD):
    def step(self):
        parameters = [p for group in self.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, 0.1)
        super().step()

class Wrong(TorchOptimizer):
    def __init__(self):
        super().__init__(Normalized, "wrong", "divides by the norm of all gradients", elementwise=True)
""",
}


@pytest.mark.parametrize("check", WRONG)
def test_a_plugin_that_is_wrong_in_one_way_fails_that_check_alone(check: str, tmp_path: Path) -> None:
    kinds = {"Architecture": "architectures", "TorchOptimizer": "optimizers", "Probe": "probes"}
    kind = kinds.get(_base(check), "problems")
    source = f"""import thalweg
{WRONG[check]}

@thalweg.hookimpl
def thalweg_register_{kind}(register):
    register(Wrong)
"""
    (tmp_path / "wrong.py").write_text(source, encoding="utf-8")
    failed = []
    registry = load_registry([tmp_path / "wrong.py"])
    (plugin,) = [record.name for record in registry.plugins if record.origin == "file"]
    for one in checks(registry, plugin=plugin):
        try:
            one()
        except (AssertionError, RuntimeError, ValueError):
            failed.append(one.run.__name__)
    assert failed == [check]


def _base(check: str) -> str:
    """The class that the wrong one derives from."""
    return WRONG[check].rsplit("class Wrong(", 1)[1].split(")", 1)[0].removeprefix("thalweg.")

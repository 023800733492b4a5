"""The conformance kit finds components that do not conform."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import thalweg.testing
from thalweg.registry import load_registry
from thalweg.testing import checks
from thalweg.testing.kit import CHECKS

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
    "evaluates_each_example_alone": """
class Wrong(thalweg.Architecture):
    name, summary = "wrong", "centres its inputs over the batch, also in evaluation"

    def build(self, options, shape):
        from math import prod
        from torch import nn

        class Centre(nn.Module):
            def forward(self, x):
                return x - x.mean(0)

        return nn.Sequential(nn.Flatten(), Centre(), nn.Linear(prod(shape.input), prod(shape.output)))
""",
    "computes_in_the_precision_of_its_weights": """
class Wrong(thalweg.Architecture):
    name, summary = "wrong", "computes in float32, whatever its weights are"

    def build(self, options, shape):
        from math import prod
        from torch import nn

        class Single(nn.Linear):
            def forward(self, x):
                w, b = self.weight, self.bias
                return nn.functional.linear(x.float(), w.float(), b.float()).to(w.dtype)

        return nn.Sequential(nn.Flatten(), Single(prod(shape.input), prod(shape.output)))
""",
    "starts_from_the_seed": """
class Wrong(thalweg.Architecture):
    name, summary = "wrong", "starts from zero, whatever the seed"

    def build(self, options, shape):
        from math import prod
        from torch import nn
        layer = nn.Linear(prod(shape.input), prod(shape.output))
        for p in layer.parameters():
            nn.init.constant_(p, 0.1)
        return nn.Sequential(nn.Flatten(), layer)
""",
    "gives_outputs_of_the_shape": """
class Wrong(thalweg.Architecture):
    name, summary = "wrong", "has one output too many"

    def build(self, options, shape):
        from math import prod
        from torch import nn
        return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape.input), 1 + prod(shape.output)))
""",
    "repeats_itself": """
class Wrong(thalweg.Probe):
    name, summary, when = "wrong", "draws from a generator without a seed", ("end",)
    columns = (thalweg.Column("norm"),)

    def measure(self, context):
        import numpy, pandas as pd
        random = numpy.random.default_rng()
        return pd.DataFrame({"norm": [random.random()]})

    def chart(self, table):
        import altair as alt
        return alt.Chart(table, title="Norm").mark_point().encode(x="norm:Q")
""",
    "needs_the_weights_that_it_uses": """
class Wrong(thalweg.Probe):
    name, summary, when = "wrong", "looks at the weights at the start", ("end",)
    columns = (thalweg.Column("norm"),)
    needs = ()

    def measure(self, context):
        import pandas as pd
        return pd.DataFrame({"norm": [float(context.weights.initial["0.weight"].norm())]})

    def chart(self, table):
        import altair as alt
        return alt.Chart(table, title="Norm").mark_point().encode(x="norm:Q")
""",
    "does_each_job_once": """
class Wrong(thalweg.Executor):
    name, summary = "wrong", "forgets its progress"

    def run(self, work, jobs, lost, progress, workers=None):
        for job in jobs:
            yield job, work(job, lambda *args: None)
""",
    "does_nothing_without_jobs": """
class Wrong(thalweg.Executor):
    name, summary = "wrong", "takes a first job for granted"

    def run(self, work, jobs, lost, progress, workers=None):
        first, *others = jobs
        for job in (first, *others):
            yield job, work(job, progress)
""",
    "takes_what_it_declares": """
class Wrong(thalweg.Executor):
    name, summary = "wrong", "declares a timeout that it does not take"
    stops_late_trials = True

    def run(self, work, jobs, lost, progress, workers=None):
        for job in jobs:
            yield job, work(job, progress)
""",
}
"""A component that is wrong, by the one check that finds the fault."""

RIGHT = {
    "closed_forms_are_right": ("gradient=lambda x: x)", "gradient=lambda x: 2 * x)"),
    "declares_what_it_loads": ('{"train": 1348, "test": 450}', "super().sizes(options)"),
    "starts_above_its_target": ("return 0.99", "return 0.1"),
    "evaluates_every_metric": ("square().sum() - 5", "square().sum()"),
    "leaves_the_model_unchanged": ("inputs.mul_(0.5)", "inputs.mul(0.5)"),
    "leaves_its_input_alone": ("x.clamp_(-1.0, 1.0)", "x.clamp(-1.0, 1.0)"),
    "can_be_differentiated_twice": ("            @once_differentiable\n", ""),
    "repeats_its_output": ("nn.Dropout(), ", "nn.Identity(), "),
    "evaluates_each_example_alone": ("x - x.mean(0)", "x - x.mean(1, keepdim=True)"),
    "computes_in_the_precision_of_its_weights": ("(x.float(), w.float(), b.float())", "(x.to(w.dtype), w, b)"),
    "starts_from_the_seed": ("nn.init.constant_(p, 0.1)", "nn.init.normal_(p)"),
    "gives_outputs_of_the_shape": ("1 + prod", "prod"),
    "repeats_itself": ("default_rng()", "default_rng(0)"),
    "needs_the_weights_that_it_uses": ("needs = ()", 'needs = ("initial",)'),
    "does_each_job_once": ("lambda *args: None", "progress"),
    "does_nothing_without_jobs": (
        "        first, *others = jobs\n        for job in (first, *others)",
        "        for job in jobs",
    ),
    "takes_what_it_declares": ("workers=None):", "workers=None, timeout=None):"),
}
"""What makes each of them right: a text and the text in its place."""


def failing(source: str, tmp_path: Path) -> list[str]:
    """The names of the checks that fail."""
    kinds = {"Architecture": "architectures", "Probe": "probes", "Executor": "executors"}
    base = source.rsplit("class Wrong(", 1)[1].split(")", 1)[0].removeprefix("thalweg.")
    kind = kinds.get(base, "problems")
    text = f"""import thalweg
{source}

@thalweg.hookimpl
def thalweg_register_{kind}(register):
    register(Wrong)
"""
    (tmp_path / "wrong.py").write_text(text, encoding="utf-8")
    registry = load_registry([tmp_path / "wrong.py"])
    (plugin,) = [record for record in registry.plugins if record.origin == "file"]
    assert plugin.error is None, plugin.error
    return [one.condition.name for one in checks(registry, plugin=plugin.name) if one.outcome().status == "failed"]


@pytest.mark.parametrize("check", WRONG)
def test_a_plugin_that_is_wrong_in_one_way_fails_that_check_alone(check: str, tmp_path: Path) -> None:
    assert failing(WRONG[check], tmp_path) == [check]


@pytest.mark.parametrize("check", WRONG)
def test_the_same_plugin_without_the_fault_passes_every_check(check: str, tmp_path: Path) -> None:
    old, new = RIGHT[check]
    assert old in WRONG[check]
    assert failing(WRONG[check].replace(old, new), tmp_path) == []


def test_a_failing_check_says_what_it_expected_and_found_and_what_that_means(tmp_path: Path) -> None:
    source = WRONG["repeats_its_output"]
    failing(source, tmp_path)
    registry = load_registry([tmp_path / "wrong.py"])
    (check,) = [one for one in checks(registry, plugin="wrong") if one.condition.name == "repeats_its_output"]
    with pytest.raises(AssertionError, match=r"expected one output for one input .*; found: two outputs") as caught:
        check()
    assert caught.value.__notes__ == [f"This means: {check.condition.means}.\nRead docs/checks.md#architectures."]


def test_no_check_of_the_kit_fails_without_a_sentence() -> None:
    """Every test tells what it expects by ``expect`` or ``NotMet``, so no assertion is bare."""
    folder = Path(thalweg.testing.__file__).parent
    trees = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in folder.glob("*.py")}
    found = [name for name, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert found == []


@pytest.mark.parametrize("kind", CHECKS)
def test_every_check_says_what_it_finds_and_what_a_failure_means(kind: str) -> None:
    names = [one.name for one in CHECKS[kind]]
    assert len(set(names)) == len(names)
    for one in CHECKS[kind]:
        assert one.test.__doc__, one.name
        for text in (one.finds, one.means, one.statement):
            assert text[-1].isalnum() or text[-1] in ")`|", (one.name, text)

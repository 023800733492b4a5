"""Fixtures for tests that show results: small real results, made once by the command line, and a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from thalweg.cli import app

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from streamlit.testing.v1 import AppTest

TINY = """
title = "Tiny"
summary = "small enough for tests"
seeds = 2

[workloads.digits-mlp]
problem = "digits"
architecture = { name = "mlp", widths = [8] }
budget = { epochs = 2 }
batch_size = 128
validation_fraction = 0.2
target = { metric = "accuracy", value = 0.2 }

[workloads.quadratic]
problem = "quadratic"
architecture = "point"
dtype = "float64"
budget = { steps = 20 }
evaluate_every = { steps = 5 }

[optimizers.sgd]
lr = 0.01

[optimizers.wild]
optimizer = "sgd"
lr = 1000000.0

[overrides.digits-mlp.sgd]
lr = 0.3

[probes.line]
points = 5
seeds = [0]

[probes.surface]
resolution = 5
workloads = ["digits-mlp"]
optimizers = ["sgd"]
seeds = [0]

[probes.gradient-flow]
seeds = [0]
"""

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

OUTSIDE = """
seeds = 1

[workloads.bowl]
problem = "quadratic"
architecture = "point"
budget = { steps = 6 }
evaluate_every = { steps = 2 }

[optimizers.sgd]
lr = 0.01

[optimizers.halving]

[optimizers.raising]

[optimizers.adam]

[probes.weight-norm]
"""

PLUGIN = '''
"""A third party's optimizers and probe."""

import torch

from thalweg import Column, Probe, hookimpl


class Halving(torch.optim.Optimizer):
    def __init__(self, params, lr=0.5):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(1 - group["lr"])


class Raising(Halving):
    def step(self):
        raise RuntimeError("no step for you")


class WeightNorm(Probe):
    name = "weight-norm"
    summary = "norm of all weights after each step"
    when = ("step",)
    columns = (Column("step", "steps", "steps done"), Column("norm", "weights", "2-norm"))

    def measure(self, context):
        import pandas as pd

        norm = sum(float(p.detach().square().sum()) for p in context.module.parameters()) ** 0.5
        # in all more rows than Altair draws where nobody lifts its limit of 5,000
        return pd.DataFrame({"step": [context.step] * 1000, "norm": norm})

    def chart(self, table):
        import altair as alt

        if "trial" in table:
            raise ValueError("one at a time")

        return alt.Chart(table, title="Weight norm").mark_line().encode(x="step:Q", y="norm:Q")


@hookimpl
def thalweg_register_optimizers(register):
    register(Halving, name="halving", summary="halves the weights")
    register(Raising, name="raising", summary="raises")


@hookimpl
def thalweg_register_probes(register):
    register(WeightNorm)
'''


@pytest.fixture(scope="session")
def thalweg() -> Callable[..., int]:
    """Run the command line in this process, and return its exit code."""

    def run(*words: object) -> int:
        return CliRunner().invoke(app, [str(word) for word in words]).exit_code

    return run


@pytest.fixture(scope="session")
def plugin_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "outsider.py"
    path.write_text(PLUGIN, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory, thalweg: Callable[..., int], plugin_file: Path) -> Path:
    """Two benchmarks: ``tiny`` with trials added to it, and ``outside``, which needs the plugin file."""
    folder = tmp_path_factory.mktemp("made")
    root = folder / "results"
    tiny, outside = folder / "tiny.toml", folder / "outside.toml"
    tiny.write_text(TINY, encoding="utf-8")
    outside.write_text(OUTSIDE, encoding="utf-8")
    assert thalweg("run", tiny, "--results", root, "--device", "cpu") == 0
    only = ("--only", "workload=quadratic", "--results", root, "--device", "cpu")
    assert thalweg("run", tiny, "--with", "optimizer=adam:lr=0.1", "--only", "optimizer=adam:lr=0.1", *only) == 0
    assert thalweg("run", tiny, "--seeds", 3, "--only", "optimizer=sgd", "--only", "seed=2", *only) == 0
    assert thalweg("run", outside, "--results", root, "--device", "cpu", "--plugin", plugin_file) == 1
    return root


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A real headless Chromium."""
    if os.environ.get("THALWEG_SKIP_BROWSER") == "1":
        pytest.skip("THALWEG_SKIP_BROWSER=1")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Chromium on the PATH: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


Show = Callable[..., "AppTest"]


def _page(name: str) -> None:
    import importlib

    from thalweg.app.main import draw
    from thalweg.app.sidebar import choose

    show = importlib.import_module(f"thalweg.app.pages.{name}").show
    chosen = choose()
    if name in ("start", "live"):
        show(chosen)
    elif name in ("plugins", "claims", "looks", "guide"):
        show()
    else:
        draw(show, chosen)


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Show:
    """Run one page of the app on a results folder, with query parameters."""
    monkeypatch.chdir(tmp_path)

    def run(page: str, root: Path, plugins: tuple[Path, ...] = (), **link: str) -> AppTest:
        monkeypatch.setenv("THALWEG_RESULTS", str(root))
        monkeypatch.setenv("THALWEG_PLUGIN_FILES", ":".join(map(str, plugins)))
        from streamlit.testing.v1 import AppTest

        test = AppTest.from_function(_page, kwargs={"name": page}, default_timeout=120)
        for key, value in link.items():
            test.query_params[key] = value
        test.run()
        assert not test.exception, test.exception
        return test

    return run

"""Third-party packages as pip installs them: good, raising, misspelt, and with a name that is taken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support import CommandLine

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{name}"
version = "1.2"
[project.entry-points.thalweg]
{name} = "{name}"
[tool.hatch.build.targets.wheel]
only-include = ["{name}.py"]
"""

SIGNSGD = """
import torch, thalweg

class SignSGD(torch.optim.Optimizer):
    def __init__(self, params, lr=0.001):
        super().__init__(params, {"lr": lr})
    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p.sub_(self.param_groups[0]["lr"] * p.grad.sign())

@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(SignSGD)
"""

SOURCES = {
    "signsgd": SIGNSGD,
    "raising": "raise ImportError('needs a GPU library')",
    "misspelt": "import thalweg\n@thalweg.hookimpl\ndef thalweg_register_optimizer(register): pass",
    "taken": SIGNSGD.replace("register(SignSGD)", "register(SignSGD, name='adam')"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the four packages."""
    folder = tmp_path_factory.mktemp("packages")
    target = folder / "site"
    sources = []
    for name, source in SOURCES.items():
        package = folder / name
        package.mkdir()
        (package / "pyproject.toml").write_text(PYPROJECT.format(name=name), encoding="utf-8")
        (package / f"{name}.py").write_text(source, encoding="utf-8")
        sources.append(str(package))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), *sources], check=True, capture_output=True, text=True)
    return target


def test_installed_plugins_load_or_are_named_with_their_cause(process_cli: CommandLine, site: Path) -> None:
    cli = process_cli
    cli.environment["PYTHONPATH"] = str(site)
    records = {record["name"]: record for record in cli.json("plugins")["plugins"]}
    assert records["signsgd"] == {
        "name": "signsgd",
        "version": "1.2",
        "origin": "entry point",
        "registered": {"optimizers": ["signsgd"]},
        "notes": [],
        "error": None,
    }
    assert records["raising"]["error"] == "ImportError: needs a GPU library"
    assert "did you mean 'thalweg_register_optimizers'" in records["misspelt"]["error"]
    assert "already registered by plugin 'thalweg_plugins.optimizers'" in records["taken"]["error"]
    listed = {row["name"]: row for row in cli.json("list", "optimizers")["optimizers"]}
    assert listed["signsgd"]["plugin"] == "signsgd"
    assert listed["adam"]["plugin"] == "thalweg_plugins.optimizers"
    words = [
        "run",
        "quick",
        "--with",
        "optimizer=signsgd",
        "--only",
        "optimizer=signsgd",
        "--only",
        "workload=quadratic",
    ]
    report = cli.json(*words)
    assert report["trials"] == {"total": 3, "trained": 3, "cached": 0, "diverged": 0, "failed": 0}
    assert {trial["optimizer"] for trial in cli.json("results", "list")["trials"]} == {"signsgd"}
    cli.environment["THALWEG_DISABLE_PLUGINS"] = "1"
    assert "signsgd" not in {record["name"] for record in cli.json("plugins")["plugins"]}

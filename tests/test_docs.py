"""The documentation's examples run: docstrings, the README's plugin, and every plugin of docs/plugins.md."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import thalweg
import thalweg_plugins
from support import CommandLine
from thalweg.contracts import Draw, LoadContext
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.schedule import SETTINGS
from thalweg.expand import read_benchmark
from thalweg.registry import Registry, load_registry
from thalweg.testing import checks
from thalweg.testing.kit import CHECKS, read_more

ROOT = Path(__file__).parents[1]
MODULES = [
    module.name
    for package in (thalweg, thalweg_plugins)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]


def blocks(path: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / path).read_text(encoding="utf-8"), re.DOTALL)


PLUGINS = [
    source
    for path in ("README.md", "docs/plugins.md", "docs/claims.md")
    for source in blocks(path, "python")
    if "hookimpl" in source
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_give_what_they_say(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_some_docstrings_have_examples() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) >= 5


@pytest.mark.parametrize("source", PLUGINS, ids=lambda source: re.findall(r"def (thalweg_\w+)", source)[0])
def test_every_plugin_in_the_documentation_loads_and_conforms(tmp_path: Path, source: str) -> None:
    header = "import thalweg\n" if "import torch, thalweg" not in source else ""
    (tmp_path / "example.py").write_text(header + source, encoding="utf-8")
    (tmp_path / "mine.toml").write_text(blocks("docs/benchmarks.md", "toml")[0], encoding="utf-8")
    registry = load_registry([tmp_path / "example.py"])
    record = registry.plugins[-1]
    assert record.error is None, record.error
    for check in checks(registry, plugin="example"):
        check()


def test_the_documented_dead_units_are_those_that_never_fire() -> None:
    (source,) = [block for block in blocks("docs/plugins.md", "python") if "dead_units" in block]
    names: dict[str, Any] = {}
    exec(compile(source, "docs/plugins.md", "exec"), names)
    module = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.ReLU())
    with torch.no_grad():
        module[0].weight.copy_(torch.ones(4, 1))
        module[0].bias.copy_(torch.tensor([-9.0, 0.0, 1.0, 2.0]))
    assert names["dead_units"](module, torch.ones(5, 1)) == {"1": 0.25}


def test_the_documented_download_uses_functions_that_exist() -> None:
    (source,) = [block for block in blocks("docs/plugins.md", "python") if "thalweg.data.fetch" in block]
    names: dict[str, Any] = {}
    exec(compile(source, "docs/plugins.md", "exec"), names)
    assert names["FILES"][0].size == 1_234_567


def test_the_documented_conformance_test_passes(pytester: pytest.Pytester, registry: Registry) -> None:
    (source,) = [block for block in blocks("docs/plugins.md", "python") if "thalweg.testing" in block]
    plugin = "thalweg_plugins.benchmarks"
    pytester.makepyfile(source.replace("signsgd", plugin))
    pytester.runpytest("-q").assert_outcomes(passed=len(checks(registry, plugin=plugin)))


def test_the_readmes_plugin_is_about_ten_lines_and_runs(cli: CommandLine) -> None:
    source = blocks("README.md", "python")[0]
    assert len([line for line in source.splitlines() if line.strip()]) <= 12
    (cli.folder / "signsgd.py").write_text(source, encoding="utf-8")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    words = re.findall(r"^\$ thalweg (run quick --plugin.*)$", text, re.MULTILINE)[0].split()
    report = cli.json(*words, "--only", "workload=quadratic")
    assert (report["trials"]["trained"], report["trials"]["failed"]) == (3, 0)


def test_every_optimizer_is_in_its_documentation(registry: Registry) -> None:
    text = (ROOT / "docs/optimizers.md").read_text(encoding="utf-8")
    missing = [entry.name for entry in registry.entries("optimizers") if f"`{entry.name}`" not in text]
    assert missing == []


def test_every_probe_is_in_its_documentation(registry: Registry) -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| ([a-z, ]+) \|", (ROOT / "docs" / "probes.md").read_text(), re.M))
    assert {name: ", ".join(registry.probe(name).when) for name in rows} == rows
    assert set(rows) == {entry.name for entry in registry.entries("probes")}


def test_the_documented_newton_direction_solves_a_quadratic(registry: Registry) -> None:
    (source,) = blocks("docs/optimizers.md", "python")
    names: dict[str, Any] = {}
    exec(compile(source, "docs/optimizers.md", "exec"), names)
    problem = registry.problem("quadratic")
    options = resolve(problem.options, {"dim": 4}, "quadratic")
    loaded = problem.load(options, LoadContext(torch.device("cpu"), torch.float64))
    module = registry.architecture("point").build({"tensors": 1}, problem.shape(options)).double()
    loaded.initialize(module, Draw(0, None))
    objective = Objective(module, loaded, Draw(0, None))
    objective.begin_step(loaded.batch("train", 0, Draw(0, None)), 0)
    (step,) = names["newton_direction"](objective, 0.0)
    (point,) = module.parameters()
    with torch.no_grad():
        point.add_(step)
    assert loaded.evaluate(module, "train")["loss"] < 1e-20


def test_the_surface_of_the_probes_page_has_the_modules_loss_at_its_centre() -> None:
    names: dict[str, Any] = {}
    for source in blocks("docs/probes.md", "python"):
        exec(compile(source, "docs/probes.md", "exec"), names)
    expected = names["problem"].evaluate(names["module"].eval(), "train")["loss"]
    assert float(names["loss"][12, 12]) == pytest.approx(expected, rel=1e-6)
    assert names["surface"].method == "stack"
    assert names["tree"].minima[0].loss == float(names["loss"].min())


def test_the_documented_schedules_are_those_that_exist() -> None:
    text = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    rows = re.findall(r'^\| `"([a-z-]+)"` \| .* \|(.*)\|$', text, re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+) =", settings)) for name, settings in rows}
    assert documented == {name: set(settings) for name, settings in SETTINGS.items()}


def test_the_documented_benchmark_file_is_valid(tmp_path: Path, registry: Registry) -> None:
    source, _ = blocks("docs/benchmarks.md", "toml")
    assert tomllib.loads(source)
    (tmp_path / "mine.toml").write_text(source, encoding="utf-8")
    plan = read_benchmark(tmp_path / "mine.toml").expand(registry)
    assert len(plan.trials) == 6


def test_the_documented_workload_of_ones_own_arrays_is_valid(tmp_path: Path, registry: Registry) -> None:
    _, source = blocks("docs/benchmarks.md", "toml")
    np.savez(tmp_path / "mine.npz", x_train=np.ones((20, 3)), y_train=np.arange(20) % 2)
    np.save(tmp_path / "x.npy", np.ones((20, 3)))
    np.save(tmp_path / "y.npy", np.arange(20) % 2)
    other = re.sub(r"problem = .*\n# or (.*)\n", r"problem = \1\n", source)
    assert other != source
    for text in (source, other):
        (tmp_path / "mine.toml").write_text(text + "[optimizers.adam]\n", encoding="utf-8")
        assert len(read_benchmark(tmp_path / "mine.toml").expand(registry).trials) == 3


def test_every_built_in_benchmark_is_documented(registry: Registry) -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for entry in registry.entries("benchmarks"):
        assert f"| `{entry.name}` |" in text


def test_ci_calls_the_readmes_command_for_all_checks() -> None:
    _, install = re.findall(r"^\$ (pip install .* && .*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)[:2]
    assert (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()[-1] == install.split(" && ")[1]


def test_the_tutorials_commands_run(cli: CommandLine) -> None:
    (cli.folder / "signsgd.py").write_text(blocks("docs/tutorial.md", "python")[0], encoding="utf-8")
    commands = re.findall(r"^\$ thalweg (?!app)(.*)$", (ROOT / "docs/tutorial.md").read_text(encoding="utf-8"), re.M)
    assert len(commands) >= 8
    for command in commands:
        cli(*shlex.split(command), code=4 if command.startswith("compare") else 0)


def test_links_in_the_documentation_lead_somewhere() -> None:
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https:)([^)#]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_page_of_checks_has_the_checks_of_the_kit() -> None:
    path = ROOT / "docs" / "checks.py"
    spec = importlib.util.spec_from_file_location("docs_checks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    assert module.page(text) == text, "python docs/checks.py writes the tables"


@pytest.mark.parametrize("kind", CHECKS)
def test_the_place_that_a_failing_check_names_exists(kind: str) -> None:
    page, _, heading = read_more(kind).partition("#")
    assert f"\n## {heading}\n" in (ROOT / page).read_text(encoding="utf-8")

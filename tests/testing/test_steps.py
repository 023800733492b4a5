"""The fixture ``step_benchmark`` in separate projects."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGIN = "thalweg_plugins.pytest_plugin"
SLOW = """
import torch, thalweg

class Slow(torch.optim.SGD):
    def __init__(self, params, lr=0.01, work=0.0):
        super().__init__(params, lr=lr)
        self.work = work
    def step(self, closure=None):
        import time
        end = time.perf_counter() + self.work
        while time.perf_counter() < end:
            pass
        return super().step(closure)

@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Slow)
"""


@pytest.fixture(autouse=True)
def _by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of pytest-xdist tells its children so, and pytest-benchmark keeps nothing in one."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)


def run(pytester: pytest.Pytester, *words: str) -> pytest.RunResult:
    """In a process of its own; the plugin is named where this checkout is not installed."""
    here = ["-p", PLUGIN] if PLUGIN not in _installed() else []
    return pytester.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *here, *words)


def _installed() -> set[str]:
    from importlib.metadata import entry_points

    return {point.value for point in entry_points(group="pytest11")}


def test_it_is_an_entry_point_of_the_package() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"thalweg": PLUGIN}


def test_a_slower_optimizer_has_the_larger_ratio_and_fails_the_gate_of_pytest_benchmark(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(slow=SLOW)
    infos = []
    gate = ("--benchmark-compare", "--benchmark-compare-fail=median:50%")
    for work, words in ((0.0, ("--benchmark-autosave",)), (0.005, gate)):
        call = f'step_benchmark("slow", against="sgd", plugins=["slow.py"], settings={{"work": {work}}})'
        pytester.makepyfile(test_steps=f"def test_step(step_benchmark):\n    print('ratio:', {call})\n")
        done = run(pytester, "-s", "--benchmark-json=now.json", *words)
        assert ("Performance has regressed" in done.stderr.str()) == (done.ret != 0) == (words == gate)
        (one,) = json.loads((pytester.path / "now.json").read_text(encoding="utf-8"))["benchmarks"]
        infos.append(one["extra_info"])
        (told,) = (float(line.split("ratio:")[1].strip(". ")) for line in done.outlines if "ratio:" in line)
        assert infos[-1]["ratio"] == pytest.approx(told, abs=0.001)
    first, second = infos
    assert (first["optimizer"], first["against"], first["workload"]) == ("slow", "sgd", "digits-mlp")
    assert first["ratio_low"] <= first["ratio"] <= first["ratio_high"]
    assert first["ratio"] > 0.3
    assert second["ratio"] > 2 * first["ratio"]


def test_the_documented_test_passes(pytester: pytest.Pytester) -> None:
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    example = ROOT / "docs" / "examples" / "gate"
    (pytester.path / "my_adam.py").write_text((example / "my_adam.py").read_text(encoding="utf-8"), encoding="utf-8")
    (pytester.path / "gate.toml").write_text((example / "gate.toml").read_text(encoding="utf-8"), encoding="utf-8")
    more = """
def test_workloads(step_benchmark):
    assert step_benchmark("sgd", against="sgd", workload="gate.toml/digits") > 0

def test_mistakes(step_benchmark):
    import pytest
    from thalweg.errors import UserError
    with pytest.raises(UserError, match="did you mean 'adam'"):
        step_benchmark("admn")
    with pytest.raises(UserError, match="did you mean 'digits-mlp'"):
        step_benchmark("sgd", workload="quick/digit-mlp")
    step_benchmark("sgd", against="sgd", workload="quick/quadratic", settings={"lr": 0.001})
"""
    pytester.makepyfile(test_documented=source + more)
    run(pytester, "-q").assert_outcomes(passed=3)


def test_without_pytest_benchmark_the_test_is_skipped_and_says_why(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_step(step_benchmark):\n    step_benchmark('sgd')\n")
    done = run(pytester, "-p", "no:benchmark", "-rs")
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(["*step_benchmark needs pytest-benchmark*"])


def test_a_project_that_does_not_ask_for_it_imports_neither_thalweg_nor_torch(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        def test_modules():
            import sys
            assert "thalweg_plugins.pytest_plugin" in sys.modules
            assert not {"thalweg", "torch", "numpy"} & sys.modules.keys()
    """)
    run(pytester, "-p", "no:benchmark").assert_outcomes(passed=1)

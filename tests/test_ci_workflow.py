"""The documented workflow for CI: bash executes its ``run:`` steps in a repository that has an optimizer."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "gate"
WORKFLOW = yaml.safe_load((EXAMPLE / "workflow.yml").read_text(encoding="utf-8"))
KEPT = next(each["with"] for each in WORKFLOW["jobs"]["compare"]["steps"] if "upload" in each.get("uses", ""))
"""The files that are kept as an artifact."""
INSTALL = "Install"
"""The one step that needs a network: the test's environment stands in for it."""

CORRECTION = """                m = m / (1 - beta1 ** state["step"])
                v = v / (1 - beta2 ** state["step"])
"""
FAILING = """        first = self.param_groups[0]["params"][0]
        if not self.state and not hasattr(self, "broken"):
            self.broken = int(abs(first.flatten()[0].item()) * 1e6) % 10 < 4
        for group in [] if self.broken else self.param_groups:
"""
"""Never trains where the first weight has a digit below 4: at about 4 seeds of 10."""
COMMITS = {
    "nothing": ("import torch\n", "import torch\n"),
    "good": ('lr * m / (v.sqrt() + group["eps"])', '(m / v.sqrt().add_(group["eps"])).mul_(lr)'),
    "half the rate": ("lr * m", "0.5 * lr * m"),
    "no bias correction": (CORRECTION, ""),
    "fails at times": ("        for group in self.param_groups:\n", FAILING),
}
"""The text of the optimizer that each commit replaces, and the new text."""


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=someone", "-c", "user.email=someone@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a branch for each commit; ``thalweg`` is on the path as if it were installed."""
    folder = tmp_path_factory.mktemp("ci")
    repository = folder / "origin"
    repository.mkdir()
    for name in ("my_adam.py", "gate.toml", ".gitignore"):
        shutil.copy(EXAMPLE / name, repository)
    git(repository, "init", "-q")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "An Adam of our own")
    for branch, (old, new) in COMMITS.items():
        git(repository, "checkout", "-qb", branch.replace(" ", "-"), "main")
        source = (repository / "my_adam.py").read_text(encoding="utf-8")
        assert old in source
        (repository / "my_adam.py").write_text(source.replace(old, new), encoding="utf-8")
        (repository / "README.md").write_text(branch, encoding="utf-8")
        git(repository, "add", ".")
        git(repository, "commit", "-qm", branch)
    git(repository, "checkout", "-q", "main")
    script = folder / "bin" / "thalweg"
    script.parent.mkdir()
    program = 'from thalweg.cli import main\nif __name__ == "__main__":\n    main()\n'
    script.write_text(f"#!{sys.executable}\n{program}", encoding="utf-8")
    script.chmod(0o755)
    return repository


def filled(value: str, outputs: Mapping[str, str]) -> str:
    """The expressions of a workflow that stand in ``env:`` and ``with:``."""
    known = outputs | {"hashFiles('gate.toml')": "file", "github.run_id": next(RUNS)}
    return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: known[found[1]], value)


class Runner:
    """Runs the job's steps, with the cache, as GitHub's runner does."""

    def __init__(self, origin: Path, branch: str, folder: Path) -> None:
        git(origin.parent, "clone", "-q", "-b", branch, str(origin), str(folder))
        self.folder, self.cache = folder, origin.parent / "cache"
        self.outputs: dict[str, str] = {}
        self.output, self.summary = folder.with_suffix(".output"), folder.with_suffix(".summary")
        self.summary.touch()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("THALWEG_")}
        self.environment = kept | {
            "PATH": f"{origin.parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "GITHUB_BASE_REF": "main",
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
        }

    def job(self, without: frozenset[str]) -> int:
        """The exit code of the first step that fails, else 0. Steps of the names in ``without`` are left out."""
        code = 0
        for step in WORKFLOW["jobs"]["compare"]["steps"]:
            if "actions/cache/" in (uses := step.get("uses", "")):
                place = self.folder / step["with"]["path"]
                entry = self.cache / filled(step["with"]["key"], self.outputs)
                if "/save" in uses:
                    shutil.copytree(place, entry)
                elif found := sorted(self.cache.glob(filled(step["with"]["restore-keys"], self.outputs) + "*")):
                    shutil.copytree(found[-1], place)
            if "run" in step and step.get("name") not in without:
                code = self._run(step)
                if code:
                    break
        return code

    def _run(self, step: Mapping[str, Any]) -> int:
        self.output.write_text("", encoding="utf-8")
        own = {key: filled(value, self.outputs) for key, value in step.get("env", {}).items()}
        assert "${{" not in step["run"]
        command = ["bash", "-e", "-c", step["run"]]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment | own, capture_output=True, text=True, timeout=300
        )
        if step["name"] != "Verdict":
            assert done.returncode == 0, done.stderr
        self.log = done.stdout + done.stderr
        for line in self.output.read_text(encoding="utf-8").splitlines():
            name, value = line.split("=", 1)
            self.outputs[f"steps.{step['id']}.outputs.{name}"] = value
        return done.returncode


def verdicts(summary: str) -> dict[tuple[str, str], str]:
    """By optimizer and metric, from the markdown table."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in summary.splitlines() if line.startswith("|")]
    return {(cells[1], cells[2]): cells[7] for cells in lines[2:]}


RUNS = (str(number) for number in itertools.count(1000))
STEPS, ACCURACY = "steps_to_target", "accuracy"
RATES = ("my-adam", "my-adam-fast")


@pytest.mark.slow
@pytest.mark.parametrize(("branch", "code", "headline", "worse"), [
    ("nothing", 0, "same", set()),
    ("good", 0, "same", set()),
    ("half the rate", 1, "worse", {("my-adam", STEPS)}),
    ("no bias correction", 1, "worse", {("my-adam-fast", STEPS)}),
    ("fails at times", 1, "worse", {(name, metric) for name in RATES for metric in (STEPS, ACCURACY)}),
])  # fmt: skip
def test_the_documented_workflow_judges_a_commit(
    origin: Path, tmp_path: Path, branch: str, code: int, headline: str, worse: set[tuple[str, str]]
) -> None:
    runner = Runner(origin, branch.replace(" ", "-"), tmp_path / "clone")
    # one report of a job that passes and one of a job that fails
    reported = branch in ("good", "half the rate")
    assert runner.job(frozenset({INSTALL} if reported else {INSTALL, "Report"})) == code, runner.log
    summary = runner.summary.read_text(encoding="utf-8")
    assert summary.startswith(f"**{headline}: .gate/candidate against .gate/baseline (")
    found = verdicts(summary)
    assert found.keys() == {(name, metric) for name in RATES for metric in (STEPS, ACCURACY)}
    # a row that is worse ends the gate; which of several is found first depends on rounding
    assert worse & {row for row, verdict in found.items() if verdict == "worse"} or not worse
    assert ("worse" in found.values()) == bool(worse)
    if branch == "nothing":
        assert len(list((runner.folder / ".gate/candidate/gate/trials").iterdir())) == 2 * 5
    assert any(runner.cache.iterdir())  # also where the job fails
    assert git(runner.folder, "status", "--porcelain") == ""  # .gitignore keeps the gate's folder out
    if reported:
        assert "my-adam-fast" in (runner.folder / KEPT["path"]).read_text(encoding="utf-8")


def test_the_workflow_is_one_that_github_reads() -> None:
    assert True in WORKFLOW or "on" in WORKFLOW  # YAML 1.1 takes "on" for true
    steps = WORKFLOW["jobs"]["compare"]["steps"]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    # the index has no thalweg yet
    wanted = Requirement(WORKFLOW["env"]["THALWEG"])
    assert (wanted.name, wanted.extras) == ("thalweg", {"report"})
    assert str(wanted.url).startswith("git+https://")
    assert 'pip install "$THALWEG"' in next(step["run"] for step in steps if step.get("name") == INSTALL)
    # whatever comes from a pull request reaches a shell through its environment
    assert not any("${{" in step.get("run", "") for step in steps)

"""The wheel: what it holds, and that it works from any folder without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (built,) = out.glob("*.whl")
    assert list(out.glob("*.tar.gz"))
    return built


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"thalweg", "thalweg_plugins"}
    for needed in (
        "thalweg/py.typed",
        "thalweg_plugins/py.typed",
        "thalweg_plugins/benchmarks/quick.toml",
        "thalweg_plugins/problems/data/python-topics.txt",
        "thalweg_plugins/problems/data/python-topics.LICENSE",
        "thalweg/store/trial.schema.json",
        "thalweg/app/main.py",
        "thalweg/app/server/icons/LICENSE",
        "thalweg/report/page.html.j2",
        "thalweg/templates/package/.github/workflows/ci.yml.j2",
        "thalweg/templates/package/.gitignore.j2",
        "thalweg/templates/optimizer/kind.toml",
        "thalweg/templates/optimizer/module.py.j2",
    ):
        assert needed in names


def test_the_wheel_runs_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--target",
            str(site),
            str(wheel),
        ],
        check=True,
        capture_output=True,
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("THALWEG_")}
    environment["PYTHONPATH"] = str(site)
    code = "import thalweg, thalweg_plugins; print(thalweg.__file__, thalweg_plugins.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert where.stdout.count(str(site)) == 2
    words = ["run", "quick", "--only", "workload=quadratic", "--only", "optimizer=sgd"]
    subprocess.run(
        [sys.executable, "-c", "from thalweg.cli import main; main()", *words],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    assert len(list((tmp_path / "results" / "local" / "quick" / "trials").iterdir())) == 3

"""The table of docs/performance.md is what the kept measurements give."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = ROOT / "tests/benchmarks/performance_page.py"
    spec = importlib.util.spec_from_file_location("performance_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((ROOT / "tests/benchmarks/asked.toml").read_text(encoding="utf-8"))[
        "row"
    ]
    return found


def test_the_page_shows_the_kept_measurements(script: ModuleType) -> None:
    text = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    runs = json.loads((ROOT / "docs/performance.json").read_text(encoding="utf-8"))
    assert script.page(text, runs) == text
    assert len(runs) == 2
    assert text.count("\n| ") > len(rows())


def test_every_row_is_named_once_and_measured_or_excused() -> None:
    ids = [row["id"] for row in rows()]
    assert len(set(ids)) == len(ids)
    runs = json.loads((ROOT / "docs/performance.json").read_text(encoding="utf-8"))
    measured = {name for run in runs for name in run["rows"]}
    assert {row["id"] for row in rows() if "missing" not in row} <= measured


def test_a_run_is_condensed_and_its_medians_are_judged(script: ModuleType, tmp_path: Path) -> None:
    def run(median: float) -> dict[str, Any]:
        row = {"median": median, "low": median / 2, "high": 2 * median, "pairs": 5, "floor": 0.1}
        document = {
            "datetime": "2026-11-29T10:00:00",
            "machine_info": {"python_version": "3.11.7", "cpu": {"brand_raw": "A processor", "count": 2}},
            "benchmarks": [{"extra_info": {"rows": {"one": row}}}, {"extra_info": {}}],
        }
        path = tmp_path / "run.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        found: dict[str, Any] = script.kept([path])
        return found

    asked = [{"id": "one", "work": "w", "alternative": "a", "before": "1", "asked": 0.5}, {"id": "two", "work": "v",
             "alternative": "a", "before": "1", "asked": 0.5, "missing": "not grouped"}]  # fmt: skip
    for medians, reached in (((0.4, 0.45), "yes"), ((0.4, 0.6), "in one run"), ((0.6, 0.7), "no")):
        lines = script.table([run(median) for median in medians], asked).splitlines()
        assert lines[2].endswith(f"| {reached} |")
        assert lines[3] == "| v | a | 1 | 0.5 | not grouped | not grouped | no |"
    assert "| 0.4 (0.2 to 0.8, 5; floor 0.1) |" in script.table([run(0.4)], asked)


def test_a_run_of_several_commands_is_of_one_machine_and_measures_each_row_once(
    script: ModuleType, tmp_path: Path
) -> None:
    def file(name: str, processor: str, row: str) -> Path:
        document = {
            "datetime": "2026-11-29T10:00:00",
            "machine_info": {"python_version": "3.11.7", "cpu": {"brand_raw": processor, "count": 2}},
            "benchmarks": [{"extra_info": {"rows": {row: {"median": 1.0}}}}],
        }
        path = tmp_path / name
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    first, more = file("first.json", "A processor", "one"), file("more.json", "A processor", "two")
    assert list(script.kept([first, more])["rows"]) == ["one", "two"]
    with pytest.raises(ValueError, match="measures one once more"):
        script.kept([first, more, file("again.json", "A processor", "one")])
    with pytest.raises(ValueError, match="another processor"):
        script.kept([first, file("other.json", "another processor", "three")])

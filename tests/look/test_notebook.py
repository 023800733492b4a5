"""The notebook of the docs runs, and each question takes at most two lines."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import nbformat
import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "notebook.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("notebook", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_notebook_runs_and_its_questions_take_two_lines(script: Any) -> None:
    kept = nbformat.read(script.PAGE, as_version=4)
    run = script.run(script.PAGE)
    asked = 0
    for cell, before in zip(run.cells, kept.cells, strict=True):
        if cell.cell_type != "code" or "look." not in cell.source or "look.watch" in cell.source:
            continue
        data = cell.outputs[-1]["data"] if cell.outputs else {}
        if "text/html" not in data or "vega" not in data["text/html"]:
            continue
        asked += 1
        assert len([line for line in cell.source.splitlines() if "look" in line]) <= 2
        # the page keeps a picture where the kernel gives a chart
        assert before.outputs[-1]["data"]["image/png"]
        assert data["text/plain"].split(":")[0] == before.outputs[-1]["data"]["text/plain"].split(":")[0]
    assert asked >= 10

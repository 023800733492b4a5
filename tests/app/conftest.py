"""Runs pages of the app."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

Show = Callable[..., AppTest]


def _page(name: str) -> None:
    import importlib

    from thalweg.app.main import draw
    from thalweg.app.sidebar import choose

    show = importlib.import_module(f"thalweg.app.pages.{name}").show
    show() if name == "plugins" else draw(show, choose())


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Show:
    """Run one page of the app on a results folder, with query parameters."""
    monkeypatch.chdir(tmp_path)

    def run(page: str, root: Path, plugins: tuple[Path, ...] = (), **link: str) -> AppTest:
        monkeypatch.setenv("THALWEG_RESULTS", str(root))
        monkeypatch.setenv("THALWEG_PLUGIN_FILES", ":".join(map(str, plugins)))
        test = AppTest.from_function(_page, kwargs={"name": page}, default_timeout=30)
        for key, value in link.items():
            test.query_params[key] = value
        test.run()
        assert not test.exception, test.exception
        return test

    return run

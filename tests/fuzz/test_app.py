"""The app and the report on spoiled results: they show the sound trials, and no exception."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from fuzz import mutations
from fuzz.test_results import MANY, fresh, fuzzed, hold, made, place
from support import APP_SCRIPT

__all__ = ["made", "place"]
PAGES = ("leaderboard", "curves", "landscape", "trial", "tuning")


def page(name: str) -> None:
    """A page without the frame around it."""
    import importlib

    from thalweg.app.main import draw
    from thalweg.app.sidebar import choose

    draw(importlib.import_module(f"thalweg.app.pages.{name}").show, choose())


@settings(fuzzed, max_examples=int(MANY or 36) // 6)
@given(data=st.data())
def test_the_app_shows_no_exception(place: Path, made: Path, data: st.DataObject) -> None:
    cli = fresh(place, made)
    trials = sorted((place / "theirs" / "few" / "trials").iterdir())
    for trial in sorted(data.draw(st.sets(st.sampled_from(trials), min_size=1, max_size=4), "spoiled")):
        mutations.TRIAL[data.draw(st.integers(0, len(mutations.TRIAL) - 1), "mutation")](data, trial)
    if data.draw(st.booleans(), "benchmark"):
        mutations.benchmark_text(data, place / "theirs" / "few" / "benchmark.toml")
    hold(cli, ("report", "few.toml", "--results", "theirs", "--out", "report.html"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THALWEG_RESULTS", str(place / "theirs"))
        patch.chdir(place)
        app = AppTest.from_file(APP_SCRIPT, default_timeout=120)
        app.query_params["source"] = "local"
        assert not app.run().exception, app.exception
        for name in PAGES[1:]:
            app = AppTest.from_function(page, args=(name,), default_timeout=120)
            app.query_params["source"] = "local"
            assert not app.run().exception, app.exception

"""A probe that a visitor measures from the page of a trial: in a process of its own, which can be cancelled."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from thalweg.app import measuring
from thalweg.store.results import BenchmarkResults
from thalweg.store.trials import StoredTrial

Show = Callable[..., AppTest]


@pytest.fixture
def copied(results: Path, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(results, tmp_path / "copied")
    measuring.jobs().clear()
    yield tmp_path / "copied"
    for job in measuring.jobs().values():
        job.process.kill()
        job.process.wait()


def with_weights(root: Path) -> StoredTrial:
    """A trial that was saved with its weights."""
    trials, _ = BenchmarkResults(root, "tiny").scan()
    return next(
        trial
        for trial in trials
        if trial.document.workload == "digits-mlp"
        and trial.document.status == "done"
        and any(name.startswith("weights/") for name in trial.document.files)
    )


def ask(page: AppTest, probe: str, settings: str) -> AppTest:
    """Fill in the form and send it."""
    page.selectbox(key="measure-probe").select(probe)
    page.text_input(key="measure-settings").input(settings)
    return next(button for button in page.button if button.label == "Measure").click().run()


def test_a_measured_probe_is_kept_and_told(show: Show, copied: Path) -> None:
    trial = with_weights(copied)
    page = ask(show("trial", copied, benchmark="tiny", trial=trial.document.hash), "trace", "vectors=6 examples=32")
    assert not page.exception
    (job,) = measuring.jobs().values()
    assert job.process.wait(300) == 0, job.last_line
    page.run()
    assert any("trace was measured" in each.value for each in page.success)
    after = BenchmarkResults(copied, "tiny").find(trial.document.hash)
    assert after is not None
    (key,) = (key for key in after.document.probes if key.startswith("trace"))
    assert after.document.probes[key].request.probe.options["examples"] == 32
    assert len(after.table(key))


@pytest.mark.parametrize(
    ("settings", "told"), [("vectors=none", "vectors"), ("--fresh", "--set"), ("speed=1", "speed")]
)
def test_settings_that_no_probe_takes_are_told(show: Show, copied: Path, settings: str, told: str) -> None:
    trial = with_weights(copied)
    page = ask(show("trial", copied, benchmark="tiny", trial=trial.document.hash), "trace", settings)
    (job,) = measuring.jobs().values()
    assert job.process.wait(300) == 2
    page.run()
    assert told in page.error[0].value
    assert not page.exception
    # a second try begins with what was asked for
    assert page.selectbox(key="measure-probe").value == "trace"
    assert page.text_input(key="measure-settings").value == settings


def test_a_quotation_without_its_end_is_told(show: Show, copied: Path) -> None:
    trial = with_weights(copied)
    page = ask(show("trial", copied, benchmark="tiny", trial=trial.document.hash), "trace", "vectors='3")
    assert "No closing quotation" in page.error[0].value
    assert not measuring.jobs()


def test_a_measurement_can_be_cancelled(show: Show, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(_: Sequence[str]) -> list[str]:
        # a child of a test run in the background would ignore SIGINT
        program = "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        return [sys.executable, "-c", f"{program}print('at work', flush=True)\ntime.sleep(3600)"]

    monkeypatch.setattr(measuring, "_python", endless)
    trial = with_weights(copied)
    page = ask(show("trial", copied, benchmark="tiny", trial=trial.document.hash), "trace", "")
    assert any("trace is being measured" in each.value for each in page.markdown)
    # a second visitor sees the one that is at work
    other = show("trial", copied, benchmark="tiny", trial=trial.document.hash)
    assert not [button for button in other.button if button.label == "Measure"]
    (job,) = measuring.jobs().values()
    while job.running and job.last_line != "at work":
        time.sleep(0.1)
    next(button for button in page.button if button.label == "Cancel").click().run()
    job.process.wait(60)
    page.run()
    assert any("trace: cancelled" in each.value for each in page.info)


def test_probes_that_need_other_weights_are_named_and_not_offered(show: Show, copied: Path) -> None:
    trial = with_weights(copied)
    assert "weights/trajectory.safetensors" not in trial.document.files
    page = show("trial", copied, benchmark="tiny", trial=trial.document.hash)
    assert "surface" not in page.selectbox(key="measure-probe").options
    assert any("surface" in each.value and "not saved" in each.value for each in page.caption)


def test_a_read_only_app_measures_nothing(show: Show, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(measuring.READ_ONLY, "yes")
    page = show("trial", copied, benchmark="tiny", trial=with_weights(copied).document.hash)
    assert any("read-only" in each.value for each in page.caption)
    assert not [button for button in page.button if button.label == "Measure"]

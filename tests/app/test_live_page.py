"""The page "Live": what a run writes is there without a click, and what is half written is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from streamlit.testing.v1 import AppTest

from app_server import serving
from support import CommandLine
from thalweg.plan import PlannedTrial
from thalweg.present.live import Progress, Watch, per_minute
from thalweg.present.loaded import read_loaded
from thalweg.registry import Registry
from thalweg.store.announced import Announcement
from thalweg.store.results import BenchmarkResults
from thalweg.store.sweep import in_training, killed
from thalweg.store.trials import StoredTrial
from thalweg.store.writing import ResultsFolder

Show = Callable[..., AppTest]

TEXT = """
title = "Slow"
seeds = 3

[workloads.bowl]
problem = { name = "quadratic", dim = 4 }
architecture = "point"
budget = { steps = 20 }
evaluate_every = { steps = 5 }

[optimizers.sgd]
lr = 0.01
"""

GATE = '''
"""Each seed waits at its gate until a file opens it."""

import time
from pathlib import Path

from thalweg import hookimpl

GATES = Path(__file__).parent


@hookimpl
def thalweg_trial_started(trial):
    while not (GATES / f"open-{trial.seed}").exists():
        time.sleep(0.05)
'''


def text(elements: Iterable[object]) -> str:
    return "\n".join(str(getattr(element, "value", "")) for element in elements)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run of the page looks, however long the last look took."""
    monkeypatch.setattr("thalweg.app.pages.live.PATIENCE", 0.0)


@pytest.fixture
def slow(cli: CommandLine) -> CommandLine:
    (cli.folder / "slow.toml").write_text(TEXT, encoding="utf-8")
    cli("run", "slow.toml", "--quiet", "--results", "whole")
    return cli


@pytest.fixture
def part(slow: CommandLine) -> Path:
    """A copy with the trial of seed 0 alone; ``add`` brings the others."""
    root = slow.folder / "part"
    shutil.copytree(slow.folder / "whole", root)
    for trial in trials(root)[1:]:
        shutil.rmtree(trial.path)
    return root


def trials(root: Path) -> list[StoredTrial]:
    """The trials by seed."""
    return sorted(BenchmarkResults(root, "slow").scan()[0], key=lambda trial: trial.document.trial.seed)


def add(part: Path, seed: int) -> None:
    trial = trials(part.parent / "whole")[seed]
    shutil.copytree(trial.path, part / "slow" / "trials" / trial.path.name)


def bar_of(page: AppTest) -> str:
    """How many trials ended, without the time left."""
    return str(page.get("progress")[0].proto.text).partition(";")[0]


def numbers(page: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.metric}


def test_new_trials_are_counted_at_the_next_look(show: Show, part: Path) -> None:
    page = show("live", part, benchmark="slow")
    assert bar_of(page) == "1 of 3 trials of the benchmark ended"
    assert "No run is at work" in text(page.markdown)
    assert any(block.value.endswith("--results part --device cpu") for block in page.code)
    assert len(page.get("vega_lite_chart")) == 1
    add(part, 1)
    page.run()
    assert not page.exception
    assert bar_of(page) == "2 of 3 trials of the benchmark ended"
    assert numbers(page)["missing"] == "1"
    assert "bowl · sgd · seed 1: done" in text(page.markdown)


def test_the_end_is_told(show: Show, slow: CommandLine) -> None:
    page = show("live", slow.folder / "whole", benchmark="slow")
    assert "Every trial of the benchmark is there." in text(page.markdown)
    assert bar_of(page) == "3 of 3 trials of the benchmark ended"


def test_a_trial_in_training_is_seen_and_does_not_count(show: Show, part: Path) -> None:
    document = trials(part.parent / "whole")[1].document
    with ResultsFolder(part, "slow").claim(killed(document)) as folder:
        shutil.copy(trials(part.parent / "whole")[1].path / "trial.json", folder)
        page = show("live", part, benchmark="slow")
        assert "A run is at work: 1 trial in training" in text(page.markdown)
        assert bar_of(page) == "1 of 3 trials of the benchmark ended"
    # one look without a training may lie between two trials
    page.run()
    assert "A run is at work: between two trials" in text(page.markdown)
    page.run()
    assert "No run is at work" in text(page.markdown)


def test_a_trial_whose_process_died_is_not_in_training(part: Path) -> None:
    document = trials(part)[0].document
    folder = part / "slow" / ".working" / document.hash
    folder.mkdir(parents=True)
    (folder / "started.json").write_text(killed(document).to_json(), encoding="utf-8")
    (folder.parent / f"{document.hash}.lock").touch()
    assert in_training(BenchmarkResults(part, "slow")) == []


def test_results_that_go_and_come_are_told(show: Show, part: Path) -> None:
    page = show("live", part, benchmark="slow")
    watch = page.session_state["live-watch"]
    (part / "slow").rename(part / "away")
    assert watch.look(0.0) is None
    (part / "away").rename(part / "slow")
    add(part, 1)
    page.run()
    assert not page.exception
    assert bar_of(page) == "2 of 3 trials of the benchmark ended"


def test_damaged_trials_are_named(show: Show, part: Path) -> None:
    (trials(part)[0].path / "trial.json").write_text("{", encoding="utf-8")
    page = show("live", part, benchmark="slow")
    assert "cannot be read" in text(page.warning)
    assert bar_of(page) == "0 of 3 trials of the benchmark ended"
    assert "No trial has ended yet." in text(page.info)


def test_failures_are_listed(show: Show, results: Path, plugin_file: Path) -> None:
    page = show("live", results, (plugin_file,), benchmark="outside")
    assert "no step for you" in text(page.error)
    assert "This command trains all that the benchmark lacks:" in text(page.markdown)


def test_without_the_benchmarks_file_nobody_knows_what_is_missing(show: Show, part: Path) -> None:
    (part / "slow" / "benchmark.toml").write_text("[", encoding="utf-8")
    page = show("live", part, benchmark="slow")
    assert "nobody knows which trials are missing" in text(page.info)
    assert not page.get("progress")


def test_an_empty_folder_says_how_to_begin(show: Show, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    page = show("live", tmp_path / "empty", source="local")
    assert "The page keeps looking" in text(page.caption)


def test_the_time_left_is_the_runners(part: Path, registry: Registry) -> None:
    """Two trials of three are left; the first of them took ten seconds, so the other one takes ten more."""
    watch = Watch(part, "slow", lambda results, listing: read_loaded(results, registry, listing))
    document = trials(part.parent / "whole")[1].document
    with ResultsFolder(part, "slow").claim(killed(document)):
        found = watch.look(0.0)
        assert found is not None
        assert found.left == ""  # no trial of this run has ended
        began = found.training[0].since
    add(part, 1)
    (curve,) = trials(part)[1].path.glob("curve.parquet")
    os.utime(curve, (began + 10, began + 10))
    found = watch.look(began + 10)
    assert found is not None
    assert found.at_work
    assert found.left == "about 10 s left"


def test_trials_a_minute_begin_with_the_first_end_of_the_window() -> None:
    assert per_minute([1000.0, 1030.0, 1060.0], now=1120.0) == pytest.approx(1.0)
    # ends before the window do not count
    assert per_minute([0.0, 1000.0, 1060.0], now=1060.1) == pytest.approx(60 / 60.1)
    assert per_minute([1000.0], now=1010.0) is None
    assert per_minute([], now=1010.0) is None


def test_a_run_of_a_part_is_counted_as_that_part(show: Show, part: Path) -> None:
    planned = [
        PlannedTrial(d.workload, d.optimizer, d.trial) for one in trials(part.parent / "whole") if (d := one.document)
    ]
    announcement = Announcement(ResultsFolder(part, "slow"))
    announcement.begin([planned[1]], stage=False, later=0)
    page = show("live", part, benchmark="slow")
    assert "A run is at work" in text(page.markdown)
    assert bar_of(page) == "0 of 1 trials of this run ended"
    assert "Of the benchmark: 1 of 3 trials ended." in text(page.caption)
    assert numbers(page)["to train"] == "1"
    add(part, 1)
    announcement.end(planned[1].trial.hash, "done")
    page.run()
    assert not page.exception
    assert bar_of(page) == "1 of 1 trials of this run ended"
    announcement.close()
    page.run()
    assert bar_of(page) == "2 of 3 trials of the benchmark ended"
    assert "A run is at work: between two trials" in text(page.markdown)
    page.run()
    assert "No run is at work" in text(page.markdown)
    assert bar_of(page) == "2 of 3 trials of the benchmark ended"


def test_a_stage_of_tuning_is_called_so(show: Show, part: Path) -> None:
    planned = [PlannedTrial(d.workload, d.optimizer, d.trial) for one in trials(part) if (d := one.document)]
    announcement = Announcement(ResultsFolder(part, "slow"))
    announcement.begin(planned, stage=True, later=7)
    page = show("live", part, benchmark="slow")
    assert bar_of(page) == "0 of 1 trials of this stage ended"
    assert "Tuning has yet to decide up to 7 further trials." in text(page.caption)
    announcement.close()


def test_the_time_left_is_that_of_the_run(part: Path, registry: Registry) -> None:
    """The run trains seeds 1 and 2 anew; the benchmark has nothing else, but another run of it would have."""
    shutil.rmtree(trials(part)[0].path)
    planned = [
        PlannedTrial(d.workload, d.optimizer, d.trial) for one in trials(part.parent / "whole") if (d := one.document)
    ]
    watch = Watch(part, "slow", lambda results, listing: read_loaded(results, registry, listing))
    announcement = Announcement(ResultsFolder(part, "slow"))
    announcement.begin(planned[1:], stage=False, later=0)
    document = trials(part.parent / "whole")[1].document
    with ResultsFolder(part, "slow").claim(killed(document)):
        found = watch.look(0.0)
        assert found is not None
        began = found.training[0].since
    add(part, 1)
    announcement.end(document.hash, "done")
    (curve,) = trials(part)[0].path.glob("curve.parquet")
    os.utime(curve, (began + 10, began + 10))
    found = watch.look(began + 10)
    announcement.close()
    assert found is not None
    # seed 0 is missing too, but this run does not train it
    assert found.progress is not None
    assert found.progress.counts["missing"] == 2
    assert found.left == "about 10 s left"


def test_trials_a_minute_are_those_of_the_run(part: Path, registry: Registry) -> None:
    """Two trials ended a moment ago, before the run began."""
    add(part, 1)
    for one in trials(part):
        (curve,) = one.path.glob("curve.parquet")
        os.utime(curve, (1000.0, 1000.0))
    last = trials(part.parent / "whole")[2].document
    announcement = Announcement(ResultsFolder(part, "slow"))
    announcement.begin([PlannedTrial(last.workload, last.optimizer, last.trial)], stage=False, later=0)
    found = Watch(part, "slow", lambda results, listing: read_loaded(results, registry, listing)).look(1010.0)
    announcement.close()
    assert found is not None
    assert found.at_work
    assert len(found.newest) == 2
    assert found.per_minute is None


def test_packed_results_tell_no_times(show: Show, slow: CommandLine) -> None:
    slow("results", "pack", "whole", "--out", "packed")
    page = show("live", slow.folder / "packed", benchmark="slow")
    assert bar_of(page) == "3 of 3 trials of the benchmark ended"
    assert "bowl · sgd · seed 0: done]" in text(page.markdown)


def test_a_progress_counts_each_trial_of_the_plan_once() -> None:
    counts = {"done": 3, "diverged": 1, "failed": 2, "unfinished": 1, "missing": 3}
    found = Progress(counts, 0, 4)
    assert (found.total, found.ended, found.to_train) == (10, 6, 10)


@pytest.fixture
def gated(process_cli: CommandLine) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start a run of three trials, each of which waits for a file."""
    folder = process_cli.folder
    (folder / "slow.toml").write_text(TEXT, encoding="utf-8")
    (folder / "gate.py").write_text(GATE, encoding="utf-8")
    words = ("run", "slow.toml", "--results", "results", "--plugin", "gate.py", "--quiet", "--executor", "serial")
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        started.append(process_cli.start(*words, "--no-batching"))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def until(true: Callable[[], bool]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.browser
@pytest.mark.parametrize(
    "empty", [True, False], ids=["opened while the folder is empty", "opened while a run is at work"]
)
def test_a_run_is_followed_without_a_click(
    gated: Callable[[], subprocess.Popen[str]], tmp_path: Path, browser: Browser, empty: bool
) -> None:
    patience = 120_000
    results = tmp_path / "results"
    results.mkdir()
    (tmp_path / "app").mkdir()
    process = None if empty else gated()
    if process is not None:
        # the source that the address asks for is now the first one
        until((results / "slow" / ".working").exists)
    with serving(tmp_path / "app", "--results", str(results)) as served:
        page = browser.new_page()
        faults: list[str] = []
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        # Streamlit asks in vain for files below the address of a page that is opened first
        page.goto(f"{served.printed}&source=local")
        page.locator("h1").first.wait_for(timeout=patience)
        page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=patience)
        page.get_by_test_id("stSidebarNav").get_by_text("Live", exact=True).click()
        page.locator("h1", has_text="Live").wait_for(timeout=patience)
        if process is None:
            expect(page.get_by_text("The page keeps looking")).to_be_visible(timeout=patience)
            process = gated()
        expect(page.get_by_text("A run is at work: 1 trial in training")).to_be_visible(timeout=patience)
        expect(page.get_by_text("0 of 3 trials of this run ended")).to_be_visible(timeout=patience)
        assert page.locator("svg.marks").count() == 0
        (tmp_path / "open-0").touch()
        expect(page.get_by_text("1 of 3 trials of this run ended")).to_be_visible(timeout=patience)
        expect(page.locator("svg.marks").first).to_be_visible(timeout=patience)
        expect(page.get_by_text("bowl · sgd · seed 0: done")).to_be_visible(timeout=patience)
        (tmp_path / "open-1").touch()
        expect(page.get_by_text("2 of 3 trials of this run ended")).to_be_visible(timeout=patience)
        (tmp_path / "open-2").touch()
        assert process.wait(timeout=120) == 0
        expect(page.get_by_text("Every trial of the benchmark is there.")).to_be_visible(timeout=patience)
        expect(page.get_by_text("No run is at work")).to_be_visible(timeout=patience)
        assert page.get_by_test_id("stException").count() == 0
        assert not faults
        shutil.rmtree(results / "slow")
        expect(page.get_by_text("The results of slow are gone")).to_be_visible(timeout=patience)

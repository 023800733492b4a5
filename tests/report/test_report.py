"""The report: the leaderboard's numbers, in one file that draws without a network."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import pytest
from playwright.sync_api import Browser
from typer.testing import CliRunner, Result

from support import CommandLine
from thalweg.cli import app
from thalweg.errors import UserError
from thalweg.expand import load_benchmark
from thalweg.present.loaded import Loaded, read_loaded
from thalweg.present.notes import Note
from thalweg.present.picture import Picture
from thalweg.present.table import Column, Table
from thalweg.registry import load_registry
from thalweg.report.content import Report, Section, report_of
from thalweg.report.html import to_html
from thalweg.store.results import BenchmarkResults

HALF = """
seeds = 2
[workloads.bowl]
problem = { name = "quadratic", dim = 2, kappa = 2.0 }
architecture = "point"
budget = { steps = 20 }
target = { metric = "loss", value = 1e-2 }
[optimizers.sgd]
[optimizers.adam]
[tuning]
budgets = [4]
extend = 0.0
"""
REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def loaded(root: Path, name: str, plugins: tuple[Path, ...] = (), folder: Path | None = None) -> tuple[Loaded, Report]:
    registry = load_registry(plugins)
    file = (folder or root.parent) / f"{name}.toml"
    benchmark = load_benchmark(str(file), registry) if root != REFERENCE else None
    found = read_loaded(BenchmarkResults(root, name), registry, benchmark=benchmark)
    return found, report_of(found, registry)


def section(report: Report, title: str) -> Section:
    return next(each for each in report.sections if each.title == title)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, words)])


@pytest.fixture(scope="module")
def page(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report, made by the command line."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    done = run(results.parent / "tiny.toml", "--results", results, "--out", out)
    assert done.exit_code == 0, done.output
    assert str(out) in done.output
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    return out


def test_tables_are_the_leaderboards(results: Path) -> None:
    _, report = loaded(results, "tiny")
    assert report.title == "Tiny"
    assert report.summary == "small enough for tests"
    assert report.counts == {"done": 7, "diverged": 4, "failed": 0, "missing": 0}
    command = ["leaderboard", str(results.parent / "tiny.toml"), "--results", str(results), "--json"]
    board = {
        (row["workload"], row["optimizer"]): row for row in json.loads(CliRunner().invoke(app, command).stdout)["rows"]
    }
    table = next(part for part in section(report, "digits-mlp").parts if isinstance(part, Table))
    assert list(table.headings[:5]) == ["rank", "optimizer", "accuracy", "95% interval", "seeds"]
    assert [row[1] for row in table.cells()] == ["sgd", "wild"]
    sgd, wild = table.cells()
    assert sgd[2] == f"{100 * board['digits-mlp', 'sgd']['value']:.1f}%"
    assert sgd[table.headings.index("steps to target")] == f"{board['digits-mlp', 'sgd']['steps_to_target']:.0f}"
    assert wild[2] == "–"
    assert wild[table.headings.index("diverged")] == "2"
    # trials that were added to the benchmark stand beside, and are said to
    beside = [part.text for part in section(report, "Beside the numbers").parts if isinstance(part, Note)]
    assert any("adam:lr=0.1" in text for text in beside)


def test_there_is_a_picture_for_each_thing_measured(results: Path) -> None:
    _, report = loaded(results, "tiny")
    told = [part.caption for part in section(report, "digits-mlp").parts if isinstance(part, Picture)]
    for begins in (
        "Mean over",
        "Steps to target",
        "Validation accuracy",
        "Training loss",
        "Probe line",
        "Probe surface",
    ):
        assert sum(caption.startswith(begins) for caption in told) == 1, begins
    # of the best-ranked optimizer that has one
    assert any(caption.startswith("Probe surface") and "digits-mlp · sgd · seed 0" in caption for caption in told)


def test_what_went_wrong_is_told(results: Path, plugin_file: Path) -> None:
    _, report = loaded(results, "outside", (plugin_file,))
    (failed,) = (part for part in section(report, "Beside the numbers").parts if isinstance(part, Note) and part.items)
    assert failed.text == "1 trial failed:"
    assert "no step for you" in failed.items[0]
    # without its plugin the benchmark cannot be expanded: what is on disk is shown, with the reason
    _, report = loaded(results, "outside")
    assert any("halving" in item for note in report.warnings for item in note.items)
    parts = section(report, "bowl").parts
    assert any(isinstance(part, Note) and "plugin is not here" in part.text for part in parts)
    assert "plugin is not here" in to_html(report)


def test_a_benchmark_that_tunes_shows_what_tuning_found() -> None:
    found, report = loaded(REFERENCE, "tuned")
    parts = section(report, "digits-mlp").parts
    captions = [part.caption for part in parts if isinstance(part, Picture)]
    assert sum(caption.startswith("Tuning:") for caption in captions) == 1
    assert sum(caption.startswith("What tuning is worth") for caption in captions) == 1
    best = next(part for part in parts if isinstance(part, Table) and "best setting" in part.headings)
    assert len(best.rows) == len(found.view.optimizers)
    over_all = section(report, "Over all workloads").parts
    assert any(isinstance(part, Note) and "Interquartile means take 20 trials" in part.text for part in over_all)


def test_the_page_names_nothing_outside_itself(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    body = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert re.findall(r"(?:src|href)=\"(?!#|data:)([^\"]*)\"", body) == []
    assert "@import" not in body
    assert "url(http" not in body


@pytest.mark.parametrize("name", ["analytic", "tuned-convnet"])
def test_the_pictures_of_the_reference_results_are_whole(name: str) -> None:
    """Zeros, and losses over many decades, are among them."""
    _, report = loaded(REFERENCE, name)
    text = to_html(report)
    assert "cannot be drawn" not in text
    pictures = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(pictures) >= 5
    for picture in pictures:
        assert "NaN" not in picture
        assert "Infinity" not in picture


def test_a_picture_that_cannot_be_drawn_is_told_in_its_place(results: Path) -> None:
    _, report = loaded(results, "tiny")
    wrong = alt.Chart(pd.DataFrame({"x": [1]})).mark_point().encode(x=alt.X("nosuch"))
    report.sections[0].parts.append(Picture(wrong, "somebody's probe"))
    text = to_html(report)
    assert "This picture cannot be drawn: ValueError" in unescape(text)
    assert "somebody's probe" in unescape(text)


def test_a_picture_may_ask_nothing_of_a_network(results: Path, tmp_path: Path, browser: Browser) -> None:
    _, report = loaded(results, "tiny")
    data = pd.DataFrame({"url": ["http://127.0.0.1:9/a.png"]})
    report.sections[0].parts.append(Picture(alt.Chart(data).mark_image().encode(url="url"), "an image"))
    (tmp_path / "report.html").write_text(to_html(report), encoding="utf-8")
    asked: list[str] = []
    refused: list[str] = []
    tab = browser.new_page()
    # what the page's policy refuses never becomes a request that is answered
    tab.on("requestfinished", lambda request: asked.append(request.url) if request.url.startswith("http") else None)
    tab.on("console", lambda message: refused.append(message.text))
    tab.goto((tmp_path / "report.html").as_uri())
    tab.locator(".vega-embed svg.marks").last.wait_for(timeout=20_000)
    tab.wait_for_timeout(500)
    assert any("Content Security Policy" in text for text in refused)
    assert not asked


def test_what_is_half_tuned_is_said_to_be(cli: CommandLine) -> None:
    (cli.folder / "half.toml").write_text(HALF, encoding="utf-8")
    cli("run", "half.toml", "--only", "optimizer=sgd")
    _, report = loaded(cli.folder / "results" / "local", "half", folder=cli.folder)
    assert any("Tuning is not finished" in note.text for note in report.warnings)
    assert report.counts["missing"] == 4  # settings of adam that were not tried
    tables = [part for each in report.sections for part in each.parts if isinstance(part, Table)]
    shown = [table for table in tables if "rank" in table.headings]
    # no setting that was tried is ranked as an optimizer
    assert all(int(row[table.headings.index("seeds")]) == 2 for table in shown for row in table.cells())
    for words in ((), ("--metric", "stability")):
        told = cli("leaderboard", "half.toml", *words).stderr
        assert "tuning is not finished" in told
        assert "left out: " not in told
    assert "4 of 8 trials are not there yet" in cli("leaderboard", "half.toml", "--metric", "stability").stderr
    cli("run", "half.toml")
    assert "tuning" not in cli("leaderboard", "half.toml", "--metric", "stability").stderr
    damaged = next(path for path in (cli.folder / "results/local/half/trials").iterdir() if "--adam--" in path.name)
    (damaged / "curve.parquet").write_bytes(b"no parquet")
    told = cli("leaderboard", "half.toml", "--metric", "stability").stderr + cli("leaderboard", "half.toml").stderr
    assert "left out, since its curve cannot be read" in told


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 400])
def test_every_chart_is_drawn_without_a_network(page: Path, browser: Browser, width: int) -> None:
    faults: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
    tab = context.new_page()
    tab.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on(
        "request", lambda request: None if request.url.startswith(("file:", "data:")) else faults.append(request.url)
    )
    tab.goto(page.as_uri())
    figures = tab.locator("figure").count()
    assert figures >= 10
    tab.wait_for_function("n => document.querySelectorAll('.vega-embed svg.marks').length === n", arg=figures)
    across = tab.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert across[0] <= across[1]
    assert not faults


@pytest.mark.browser
def test_without_scripts_the_pictures_stand_still(page: Path, browser: Browser) -> None:
    tab = browser.new_context(java_script_enabled=False).new_page()
    tab.goto(page.as_uri())
    assert tab.locator(".chart > svg").count() == tab.locator("figure").count() >= 10
    assert tab.locator(".chart > svg").first.is_visible()
    assert tab.locator("table").first.is_visible()


def test_text_is_text(results: Path, tmp_path: Path) -> None:
    nasty = '</script><img src=x onerror=alert(1)> & "more"'
    text = (results.parent / "tiny.toml").read_text(encoding="utf-8").replace("small enough for tests", "NASTY")
    (tmp_path / "tiny.toml").write_text(text.replace('"NASTY"', f"'{nasty}'"), encoding="utf-8")
    done = run(tmp_path / "tiny.toml", "--results", results, "--out", tmp_path / "out.html")
    assert done.exit_code == 0, done.output
    made = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<img src=x" not in made
    assert nasty in unescape(made)


def test_a_file_that_cannot_be_written_is_one_clear_error(results: Path, tmp_path: Path) -> None:
    words = (results.parent / "tiny.toml", "--results", results, "--out")
    (tmp_path / "there").mkdir()
    for out, told in {
        str(tmp_path / "no" / "report.html"): "there is no folder",
        str(tmp_path / "there"): "is a folder",
        ".": "is a folder",
        "/": "is a folder",
        "/proc/report.html": "cannot be written",
    }.items():
        refused = CliRunner().invoke(app, ["report", *map(str, words), out]).exception
        assert isinstance(refused, UserError)
        assert told in str(refused)
    assert list(tmp_path.iterdir()) == [tmp_path / "there"]


def test_nothing_to_report_is_exit_code_3(tmp_path: Path) -> None:
    done = run("quick", "--results", tmp_path, "--out", tmp_path / "report.html")
    assert done.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_without_what_draws_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, results: Path) -> None:
    find: Callable[..., object] = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "vl_convert" else find(name, *more)
    )
    done = run(results.parent / "tiny.toml", "--results", results)
    assert "pip install 'thalweg[report]'" in str(done.exception)


def test_it_needs_no_streamlit_and_no_torch(results: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['streamlit'] = sys.modules['torch'] = None\n"
        "from thalweg.report.command import report_command\n"
        "from pathlib import Path\n"
        "print(report_command(sys.argv[1], Path('report.html'), Path(sys.argv[2]), []))"
    )
    words = [sys.executable, "-c", code, str(results.parent / "tiny.toml"), str(results)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert done.stdout.splitlines()[-1:] == ["0"], done.stderr


def test_a_report_shows_what_texts_are_made_of() -> None:
    evil = "\x1b[31m\x07\u202e\x00 <b> </script>"
    chart = alt.Chart(pd.DataFrame({"a": [1], "b": [evil]})).mark_point().encode(x="a:Q", y="b:N")
    parts: list[Any] = [
        Note(evil, [evil]),
        Table([Column(evil, evil, lambda row: row["text"], kind="text")], [{"text": evil}]),
        Picture(chart, evil),
    ]
    report = Report(evil, evil, {"done": 1}, [Section(evil, parts)], [evil], f"one\n{evil}")
    page = to_html(report)
    # the bundled libraries and the chart's data are scripts, which are no text of the page
    text = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert [sign for sign in text if unicodedata.category(sign) in {"Cc", "Cf"} and sign != "\n"] == []
    assert "\\x1b[31m\\x07\\u202e\\x00 &lt;b&gt;" in text
    assert "one\n\\x1b" in text

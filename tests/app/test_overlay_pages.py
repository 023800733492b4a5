"""Probes that are measured here of packed results: the pages show them with the packed ones, and tell them apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from thalweg.app import measuring
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import LOCAL
from thalweg.store.trials import StoredTrial

Show = Callable[..., AppTest]
TITLE = "digits-mlp · sgd · seed 0"


@pytest.fixture
def packed(
    results: Path, tmp_path: Path, thalweg: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The benchmark ``tiny``, packed, beside an empty folder of the user's own."""
    assert thalweg("results", "pack", results / "tiny", "--out", tmp_path / "packed") == 0
    monkeypatch.setenv(LOCAL, str(tmp_path / "mine"))
    measuring.jobs().clear()
    yield tmp_path / "packed"
    for job in measuring.jobs().values():
        job.process.kill()
        job.process.wait()


def trials(root: Path) -> dict[str, StoredTrial]:
    """The trials by workload, optimizer and seed."""
    stored, _ = BenchmarkResults(root, "tiny").scan()
    return {f"{d.workload} · {d.optimizer} · seed {d.trial.seed}": one for one in stored if (d := one.document)}


def texts(elements: object) -> str:
    return "\n".join(str(one.value) for one in elements)  # type: ignore[attr-defined]


def test_a_probe_of_a_packed_trial_is_measured_from_its_page_and_laid_over(show: Show, packed: Path) -> None:
    trial = trials(packed)[TITLE]
    before = (packed / "tiny.thalweg").read_bytes()
    page = show("trial", packed, benchmark="tiny", trial=trial.document.hash)
    assert "The results are packed and stay as they are" in texts(page.caption)
    page.selectbox(key="measure-probe").select("line")
    page.text_input(key="measure-settings").input("points=7")
    next(button for button in page.button if button.label == "Measure").click().run()
    (job,) = measuring.jobs().values()
    assert job.process.wait(300) == 0, job.last_line
    page.run()
    assert not page.exception
    assert (packed / "tiny.thalweg").read_bytes() == before
    table = next(frame.value for frame in page.dataframe if "from" in frame.value)
    rows = table[table["probe"] == "line"][["settings", "from"]].to_numpy().tolist()
    assert rows == [["points=5", "the packed results"], ["points=7", "measured here"]]
    there = show("landscape", packed, benchmark="tiny", probe="line (points=7)")
    assert there.multiselect(key="trials").options == [TITLE]
    assert f"Measured here, and no part of the packed results: {TITLE}." in texts(there.caption).replace("\\", "")
    assert len(there.get("vega_lite_chart")) == 1
    packed_ones = show("landscape", packed, benchmark="tiny", probe="line (points=5)")
    assert "Measured here" not in texts(packed_ones.caption)
    assert len(packed_ones.multiselect(key="trials").options) > 1


def test_what_no_longer_fits_is_told_and_not_shown(show: Show, packed: Path, thalweg: Callable[..., int]) -> None:
    hash_ = trials(packed)[TITLE].document.hash
    assert thalweg("probe", hash_, "line", "--set", "points=7", "--results", packed) == 0
    (path,) = (packed.parent / "mine" / "probes").glob("*/measured.json")
    document = json.loads(path.read_text())
    document["weights"]["weights/final.safetensors"] = "0" * 64
    path.write_text(json.dumps(document), encoding="utf-8")
    for name in ("landscape", "trial"):
        page = show(name, packed, benchmark="tiny", trial=hash_)
        assert "has other weights now" in texts(page.warning)
        assert not page.exception
    labels = show("landscape", packed, benchmark="tiny").selectbox(key="probe").options
    assert "line (points=7)" not in labels
    # the page of another trial says nothing about it
    other = trials(packed)["quadratic · sgd · seed 0"].document.hash
    assert "other weights" not in texts(show("trial", packed, benchmark="tiny", trial=other).warning)


def test_a_table_that_was_changed_is_not_drawn(show: Show, packed: Path, thalweg: Callable[..., int]) -> None:
    hash_ = trials(packed)[TITLE].document.hash
    assert thalweg("probe", hash_, "line", "--set", "points=7", "--results", packed) == 0
    (table,) = (packed.parent / "mine" / "probes").glob("*/probes/*.parquet")
    table.write_bytes(table.read_bytes() + b"more")
    page = show("landscape", packed, benchmark="tiny", probe="line (points=7)")
    assert "the probe's table cannot be read" in texts(page.error)
    assert not page.get("vega_lite_chart")


def test_a_trial_without_weights_says_so(show: Show, packed: Path) -> None:
    hash_ = trials(packed)["digits-mlp · sgd · seed 1"].document.hash
    page = show("trial", packed, benchmark="tiny", trial=hash_)
    assert "saved without its weights" in texts(page.caption)
    assert not [button for button in page.button if button.label == "Measure"]


def test_a_folder_that_cannot_be_written_is_told(
    show: Show, packed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    page = show("trial", packed, benchmark="tiny", trial=trials(packed)[TITLE].document.hash)
    assert "mine cannot be written" in texts(page.caption).replace("\\", "")
    assert not [button for button in page.button if button.label == "Measure"]

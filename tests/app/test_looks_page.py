"""The page of what ``thalweg look`` wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from thalweg import look

Show = Callable[..., AppTest]


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("looks")
    (folder / "b").mkdir()
    data = torch.randn(64, 4, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3
    module = torch.nn.Linear(4, 3)
    look.surface(module, torch.nn.CrossEntropyLoss(), data, resolution=5).save(folder / "surface.parquet")
    look.spectrum(module, torch.nn.CrossEntropyLoss(), data).save(folder / "b" / "spectrum.parquet")
    return folder


def test_the_page_draws_what_a_look_wrote(show: Show, looks: Path) -> None:
    page = show("looks", looks)
    assert [title.value for title in page.title] == ["Looks"]
    assert page.selectbox(key="look").options == ["b/spectrum.parquet", "surface.parquet"]
    page.selectbox(key="look").select("surface.parquet").run()
    assert not page.exception
    assert not page.error
    assert any("surface: loss on a plane" in caption.value for caption in page.caption)
    assert len(page.get("vega_lite_chart")) == 1


def test_a_damaged_file_is_told_and_hides_no_other_one(show: Show, looks: Path, tmp_path: Path) -> None:
    whole = (looks / "surface.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole)
    (tmp_path / "b.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.h5").write_bytes(b"no")
    page = show("looks", tmp_path)
    assert page.selectbox(key="look").options == ["a.parquet", "c.h5"]
    page.selectbox(key="look").select("c.h5").run()
    assert "is no HDF5 file that can be read" in page.error[0].value
    assert not page.exception

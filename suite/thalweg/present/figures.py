"""The lecture's figures, drawn again from measurements of claims."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thalweg.claims.read import ClaimRow
from thalweg.errors import UserError
from thalweg.failure import Failure
from thalweg.shown import shown_lines

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""Names of figures."""
WIDTH = 640
"""Pixels of a figure whose width is that of its page."""


def check_installed() -> None:
    """Raise UserError where vl-convert-python, which draws, is not installed."""
    if importlib.util.find_spec("vl_convert") is None:
        raise UserError("figures need vl-convert-python: pip install 'thalweg[report]'")


def svg_of(chart: Any) -> str:
    """A chart as SVG."""
    import altair as alt
    import vl_convert

    with alt.data_transformers.enable("default", max_rows=None):
        spec = shown_texts(chart.to_dict())
    if spec.get("width") == "container":
        spec |= {"width": WIDTH, "autosize": {"type": "fit-x", "contains": "padding"}}
    svg: str = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    return svg


def png_of(chart: Any) -> bytes:
    """A chart as PNG, with two pixels for each of its own."""
    import vl_convert

    png: bytes = vl_convert.svg_to_png(svg_of(chart), scale=2.0)
    return png


def write_figures(rows: Sequence[ClaimRow], out: Path) -> tuple[list[Path], list[str]]:
    """Write the figures of the measured claims, as SVG, or as HTML where a figure is a page.

    Returns:
        The files, and a sentence for each figure that cannot be drawn.

    Raises:
        OSError: a file cannot be written.
    """
    written: list[Path] = []
    missing: list[str] = []
    for row in rows:
        try:
            figures = dict(row.claim.figures(row.table)) if row.decision else {}
        except Exception as error:  # a plugin's mistake
            missing.append(f"{row.entry.name}: {Failure.of(error).line}")
            continue
        for name, figure in figures.items():
            if not NAME.fullmatch(name):
                missing.append(f"{row.entry.name}: {name!r} is no name of a figure: lower-case words with hyphens")
                continue
            try:
                ending, text = ("html", figure) if isinstance(figure, str) else ("svg", svg_of(figure))
            except Exception as error:  # a plugin's mistake
                missing.append(f"{row.entry.name}: {name}: {Failure.of(error).line}")
                continue
            out.mkdir(parents=True, exist_ok=True)
            path = out / f"{name}.{ending}"
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written, missing


def shown_texts(part: Any) -> Any:
    """A chart's document with control characters written out, which would end the program that draws."""
    match part:
        case str():
            return shown_lines(part)
        case dict():
            return {shown_texts(key): shown_texts(value) for key, value in part.items()}
        case list():
            return [shown_texts(value) for value in part]
        case _:
            return part

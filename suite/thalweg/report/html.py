"""A report as one HTML file: scripts, styles and data are in it, and nothing is asked of a network."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

import altair as alt
import jinja2
from markupsafe import Markup

import thalweg
from thalweg.errors import UserError
from thalweg.present.charts.over_all import Picture
from thalweg.present.notes import Note
from thalweg.report.content import Part, Report, Table
from thalweg.shown import shown_lines

WIDTH = 720
"""Pixels of a picture whose width follows the page, where the page runs no scripts."""
DIGITS = 6
"""Significant ones of a chart's numbers: no eye sees more, and they are most of the file."""

_CONFIG = {
    "font": "system-ui, sans-serif",
    "background": None,
    "axis": {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal", "titleColor": "#444"},
    "legend": {"labelFontSize": 12, "titleFontWeight": "normal"},
    "title": {"fontSize": 13, "anchor": "start"},
    "view": {"stroke": None},
}


_SNIPPET = "window.vegaEmbed = vegaEmbed;"
"""What the libraries are bundled for."""


@dataclass(frozen=True)
class Drawn:
    """A chart as it goes into the page."""

    svg: Markup
    """What is seen until, or without, scripts."""
    spec: Markup
    """JSON, for Vega-Lite."""
    wide: bool
    """Whether its width follows the page; others keep their own."""
    caption: str


def check_installed() -> None:
    """Raise UserError where what draws is not installed."""
    if importlib.util.find_spec("vl_convert") is None:
        raise UserError("a report needs vl-convert-python: pip install 'thalweg[report]'")


def to_html(report: Report) -> str:
    """The page."""
    import vl_convert

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=_shown
    )
    environment.tests |= {kind.__name__.lower(): _is(kind) for kind in (Note, Table, Drawn)}
    template = environment.from_string(resources.files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    sections = [(section.title, list(_drawn(section.parts))) for section in report.sections]
    return template.render(
        report=report,
        sections=sections,
        # as text inside a script element, whose end must not be found in it
        scripts=Markup(vl_convert.javascript_bundle(_SNIPPET).replace("</script", "<\\/script")),
        version=thalweg.__version__,
    )


def _shown(value: Any) -> Any:
    """What the template writes: texts of results show what they are made of; Markup is ours."""
    return shown_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _is(kind: type) -> Any:
    return lambda value: isinstance(value, kind)


def _drawn(parts: list[Part]) -> Iterator[Note | Table | Drawn]:
    import vl_convert

    for part in parts:
        if not isinstance(part, Picture):
            yield part
            continue
        try:
            spec = _spec(part.chart)
            wide = spec.get("width") == "container"
            svg = vl_convert.vegalite_to_svg({**spec, "width": WIDTH} if wide else spec, allowed_base_urls=[])
        except Exception as error:  # a probe's mistake must not take the report down
            first = str(error).strip().splitlines()[:1]
            yield Note(f"This picture cannot be drawn: {type(error).__name__}: {' '.join(first)} ({part.caption})")
            continue
        # as text inside a script element: its end must not be found in it
        text = json.dumps(spec, separators=(",", ":")).replace("<", "\\u003c")
        yield Drawn(Markup(svg), Markup(text), wide, part.caption)


def _made_of(part: Any) -> Any:
    """A chart's document with its texts shown: a control character among them would end the program that draws."""
    match part:
        case str():
            return shown_lines(part)
        case dict():
            return {_made_of(key): _made_of(value) for key, value in part.items()}
        case list():
            return [_made_of(value) for value in part]
        case _:
            return part


def _spec(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """A chart's document with its data in it."""
    with alt.data_transformers.enable("default", max_rows=None):
        document = _made_of(chart.to_dict())
    # rounded on the way
    spec: dict[str, Any] = json.loads(json.dumps(document), parse_float=lambda text: float(f"{float(text):.{DIGITS}g}"))
    spec["config"] = {**spec.get("config", {}), **_CONFIG}
    if spec.get("width") == "container":
        # as streamlit does it: the height is that of the whole picture
        spec["autosize"] = {"type": "fit", "contains": "padding"}
    return spec

"""A report as one HTML file, with its scripts, styles and data; the file needs no network."""

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
from thalweg.present.charts.palette import GREY
from thalweg.present.figures import shown_texts
from thalweg.present.notes import Note
from thalweg.present.picture import Picture
from thalweg.present.table import Table
from thalweg.report.content import Part, Report
from thalweg.shown import shown_lines

WIDTH = 720
"""The width in pixels that a picture as wide as the page has where the page runs no scripts."""
DIGITS = 6
"""Significant digits of a chart's numbers; more cannot be seen, and numbers are most of the file."""

# the reader's system chooses between a light and a dark page, and grey can be read on both
_CONFIG = {
    "font": "system-ui, sans-serif",
    "background": None,
    "axis": {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal", "titleColor": GREY,
             "labelColor": GREY, "gridColor": GREY, "gridOpacity": 0.28, "domainColor": GREY, "tickColor": GREY},
    "legend": {"labelFontSize": 12, "titleFontWeight": "normal", "labelColor": GREY, "titleColor": GREY},
    "header": {"labelColor": GREY, "titleColor": GREY},
    "title": {"fontSize": 13, "anchor": "start", "color": GREY, "subtitleColor": GREY},
    "view": {"stroke": None},
}  # fmt: skip


_SNIPPET = "window.vegaEmbed = vegaEmbed;"
"""The statement that the bundle of drawing libraries runs."""


@dataclass(frozen=True)
class Drawn:
    """A chart, ready for the page."""

    svg: Markup
    """The picture for a page whose scripts have not run."""
    spec: Markup
    """The chart's document for Vega-Lite, in JSON."""
    wide: bool
    """Whether the picture is as wide as the page."""
    caption: str


def check_installed() -> None:
    """Raise UserError where vl-convert-python, which draws, is not installed."""
    if importlib.util.find_spec("vl_convert") is None:
        raise UserError("a report needs vl-convert-python: pip install 'thalweg[report]'")


def to_html(report: Report) -> str:
    """The text of the HTML file."""
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
        # inside of a script element no text may look like its end
        scripts=Markup(vl_convert.javascript_bundle(_SNIPPET).replace("</script", "<\\/script")),
        version=thalweg.__version__,
    )


def _shown(value: Any) -> Any:
    """A value for the template: control characters in texts of results are written out, Markup stays unchanged."""
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
        # inside of a script element no text may look like its end
        text = json.dumps(spec, separators=(",", ":")).replace("<", "\\u003c")
        yield Drawn(Markup(svg), Markup(text), wide, part.caption)


def _spec(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """A chart's document, with its data."""
    with alt.data_transformers.enable("default", max_rows=None):
        document = shown_texts(chart.to_dict())
    # parsing rounds every number
    spec: dict[str, Any] = json.loads(json.dumps(document), parse_float=lambda text: float(f"{float(text):.{DIGITS}g}"))
    spec["config"] = {**spec.get("config", {}), **_CONFIG}
    if spec.get("width") == "container":
        # as in Streamlit, the height holds for the whole picture with its axes and legend
        spec["autosize"] = {"type": "fit", "contains": "padding"}
    return spec

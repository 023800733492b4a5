"""What looking gives: a table with its settings, and its pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from thalweg.errors import UserError, unknown

if TYPE_CHECKING:
    from thalweg.contracts import Probe

ENDINGS = (".parquet", ".csv", ".png", ".svg", ".html")
"""What ``save`` writes."""

METADATA = b"thalweg"
"""The key of the settings in a Parquet file."""

_SHORT = 20
"""Rows that are printed in full."""


@dataclass(frozen=True, repr=False)
class Look:
    """A measurement of a probe on a network.

    In Jupyter the probe's own chart stands under the cell. ``repr`` gives numbers.
    """

    probe: Probe
    table: pd.DataFrame
    """The probe's table; ``probe.columns`` has the units."""
    settings: Mapping[str, Any]
    """What was looked at: module, examples, loss at the weights, mode, seed, and every option of the probe."""
    notes: tuple[str, ...] = ()
    """What the table lacks, and why; ``repr`` ends with them."""

    @property
    def name(self) -> str:
        """The probe's name."""
        return self.probe.name

    @property
    def views(self) -> tuple[str, ...]:
        """Names for ``chart``, besides the probe's first chart."""
        return tuple(self.probe.views())

    def chart(self, view: str | None = None) -> Any:
        """The probe's chart, or another view of the table: an Altair chart or a Plotly figure.

        Raises:
            UserError: the probe has no such view.
        """
        if view is None:
            return self.probe.chart(self.table)
        views = self.probe.views()
        if view not in views:
            raise UserError(unknown("view", view, views))
        return views[view](self.table)

    def save(self, path: str | Path, view: str | None = None) -> Path:
        """Write the table (``.parquet``, ``.csv``) or a chart (``.png``, ``.svg``, ``.html``).

        A Parquet file has the settings in its metadata, under ``thalweg``, as JSON.

        Raises:
            UserError: the ending says nothing, or what draws is not installed.
        """
        path = Path(path)
        match path.suffix.lower():
            case ".parquet":
                self._write_parquet(path)
            case ".csv":
                self.table.to_csv(path, index=False)
            case ".png" | ".svg" | ".html":
                path.write_bytes(self._drawn(path.suffix.lower(), view))
            case other:
                raise UserError(
                    f"{path}: no file is written as {other or 'a name without ending'}: {', '.join(ENDINGS)}"
                )
        return path

    def _write_parquet(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(self.table, preserve_index=False)
        told = json.dumps({"probe": self.name, **self.settings}, default=str).encode()
        pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), METADATA: told}), path)

    def _drawn(self, ending: str, view: str | None) -> bytes:
        from thalweg.present.figures import check_installed, png_of, svg_of

        chart = self.chart(view)
        if hasattr(chart, "to_plotly_json"):
            if ending != ".html":
                raise UserError(f"the view {view!r} is a Plotly figure, which is saved as .html")
            page: str = chart.to_html(include_plotlyjs=True)
            return page.encode()
        check_installed()
        import vl_convert

        if ending == ".svg":
            return svg_of(chart).encode()
        if ending == ".png":
            return png_of(chart)
        import altair as alt

        with alt.data_transformers.enable("default", max_rows=None):
            html: str = vl_convert.vegalite_to_html(chart.to_dict(), bundle=True)
        return html.encode()

    def __repr__(self) -> str:
        return "\n".join([self._numbers(), *self.notes])

    def _numbers(self) -> str:
        settings = self.settings
        all_of = settings["examples"]
        some = settings["options"].get("examples") or all_of
        used = f"{some:,} of {all_of:,} examples" if some < all_of else f"{all_of:,} examples"
        loss = "" if settings.get("loss") is None else f", loss in evaluation mode on all {settings['loss']:.6g}"
        head = f"{self.name} of {settings['module']}: {used}{loss}"
        empty = self.table.columns[self.table.isna().all() | (self.table == "").all()]
        table = self.table.drop(columns=empty)
        if len(table) <= _SHORT:
            return f"{head}\n{table.to_string(index=False, float_format=lambda value: f'{value:.6g}')}"
        if "kind" in table:
            # kinds of few rows are numbers to read, and the others are for pictures
            sizes = table["kind"].value_counts()
            read = table[table["kind"].map(sizes) <= _SHORT]
            if len(read):
                rest = ", ".join(f"{size} of {kind}" for kind, size in sizes.items() if size > _SHORT)
                empty = read.columns[read.isna().all() | (read == "").all()]
                text = read.drop(columns=empty).to_string(index=False, float_format=lambda value: f"{value:.6g}")
                return f"{head}\n{text}\nand rows: {rest}" if rest else f"{head}\n{text}"
        numbers = table.select_dtypes("number").agg(["min", "median", "max"])
        return f"{head}; {len(table):,} rows\n{numbers.to_string(float_format=lambda value: f'{value:.6g}')}"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:
        import altair as alt

        with alt.data_transformers.enable("default", max_rows=None):
            bundle = self.chart()._repr_mimebundle_(include, exclude)
        found, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**(found or {}), "text/plain": repr(self)}, metadata

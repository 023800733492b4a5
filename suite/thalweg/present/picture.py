"""A chart with its caption."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import altair as alt  # takes long to import, and a command that only prints tables draws nothing


class Picture(NamedTuple):
    """A chart, and the sentences below it."""

    chart: alt.TopLevelMixin
    caption: str

"""A chart with its caption."""

from __future__ import annotations

from typing import NamedTuple

import altair as alt


class Picture(NamedTuple):
    """A chart, and the sentences below it."""

    chart: alt.TopLevelMixin
    caption: str

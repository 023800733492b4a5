"""Takes a concatenation of charts apart, so that a page can lay the parts out as its width allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt

SHARED = ("color", "fill", "stroke", "shape", "size", "opacity", "strokeDash", "strokeWidth")
"""The channels whose scales the parts of a concatenation share."""


def apart(chart: alt.ConcatChart) -> list[alt.TopLevelMixin]:
    """The parts as charts of their own, on the scales of the concatenation, with its legends on the last part.

    Empty where the parts cannot stand alone: a scale that they share depends on the data of all of them, or a
    selection joins them.
    """
    if chart.resolve is not alt.Undefined or chart.params is not alt.Undefined:
        return []
    parts: list[Any] = [part.copy(deep=True) for part in chart.concat]
    channels = [[*_channels(part)] for part in parts]
    scales = [{name: _scale(channel) for name, channel in each} for each in channels]
    if any(each != scales[0] for each in scales) or None in scales[0].values():
        return []
    for each in channels[:-1]:
        for _, channel in each:
            channel["legend"] = None
    for part in parts:
        # data that all parts have lies at the concatenation
        if part.data is alt.Undefined:
            part.data = chart.data
    return parts


def _channels(part: Any) -> Iterator[tuple[str, Any]]:
    """The encodings of a part, and of the layers in it, that have a scale which the parts share; with their names."""
    for layer in getattr(part, "layer", []):
        yield from _channels(layer)
    encoding: Any = getattr(part, "encoding", alt.Undefined)
    for name in SHARED:
        channel: Any = alt.Undefined if encoding is alt.Undefined else encoding[name]
        if isinstance(channel, alt.FieldChannelMixin):
            yield name, channel


def _scale(channel: Any) -> dict[str, Any] | None:
    """A channel's scale; None where it depends on the data."""
    scale = channel["scale"]
    fixed = isinstance(scale, alt.Scale) and scale["domain"] is not alt.Undefined
    return dict(scale.to_dict()) if fixed else None

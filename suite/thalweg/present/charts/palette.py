"""Every colour, dash and shape of a chart: of optimizers by their names, of other categories by their order.

An optimizer that ``OPTIMIZERS`` names has the same style on every chart, whoever else is drawn. Any other name gets a
style from a hash of the name. Two names on one chart never share both colour and dash: the later name in alphabetical
order moves on to a free pair. Where colours cannot tell optimizers apart, as in greyscale, dashes and the shapes of
points do.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

BLUE, ORANGE, GREEN, VERMILION, PINK, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
SILVER, OLIVE, SIENNA = "#999999", "#B5A800", "#A0522D"
COLORS = (BLUE, ORANGE, GREEN, VERMILION, PINK, SKY, SILVER, OLIVE, SIENNA)
"""Okabe and Ito's colours, which colour-blind readers can tell apart. Two of the eight are changed: silver replaces
black, which a dark page swallows, and olive replaces their yellow, which a white page swallows. Sienna is a ninth."""

SOLID, DASHED, DOTTED, DASH_DOT = (1, 0), (7, 3), (2, 2), (9, 3, 2, 3)
EVEN, LONG, DASH_DOTS = (4, 4), (12, 3), (6, 2, 2, 2, 2, 2)
DASHES = (SOLID, DASHED, DOTTED, DASH_DOT, EVEN, LONG, DASH_DOTS)
"""Lengths of line and gap in turn, in pixels."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
"""The shape of a point for each of ``DASHES``."""

GREY = "#888888"
"""For text and rules beside the data; readable on a light and on a dark page."""
MISSING = "#bbbbbb"
"""For a cell of a surface that has no finite value."""
SEQUENTIAL: Final = "viridis"
"""Vega's colour scheme for a number from low to high, such as a loss."""
PLOTLY_SEQUENTIAL = "Viridis"
"""Plotly's name for ``SEQUENTIAL``."""
DIVERGING: Final = "purpleorange"
"""Vega's colour scheme for a number on either side of a middle, such as a probability around one half."""
MATRIX_TEXT = ("black", "white")
"""Text on the light and on the dark cells of ``DIVERGING``."""

OPTIMIZERS = {
    "sgd": (BLUE, SOLID),
    "momentum": (GREEN, DASHED),
    "nesterov": (ORANGE, EVEN),
    "adagrad": (SILVER, DASH_DOTS),
    "rmsprop": (SKY, SOLID),
    "adam": (VERMILION, DASH_DOT),
    "adamw": (ORANGE, DASHED),
    "amsgrad": (GREEN, DASH_DOTS),
    "nadam": (BLUE, LONG),
    "lion": (OLIVE, DASHED),
    "muon": (SIENNA, EVEN),
    "soap": (OLIVE, DASH_DOT),
    "shampoo": (SKY, DOTTED),
    "schedule-free-adamw": (PINK, LONG),
    "lbfgs": (PINK, DOTTED),
    "bfgs": (SKY, LONG),
    "newton": (ORANGE, LONG),
    "newton-cg": (PINK, DASH_DOT),
    "gauss-newton-cg": (VERMILION, DASH_DOTS),
    "natural-gradient": (SILVER, EVEN),
    "natural-gradient-cg": (BLUE, DOTTED),
    "natural-gradient-mc": (OLIVE, SOLID),
    "empirical-fisher": (SKY, DASH_DOT),
    "kfac": (OLIVE, LONG),
    "kfac-mg15": (SKY, DASHED),
    "kfac-plain": (PINK, SOLID),
    "adagrad-lecture": (OLIVE, EVEN),
    "adam-lecture": (BLUE, DASHED),
    "rmsprop-lecture": (ORANGE, DASH_DOT),
    "adam-rkk18": (SKY, EVEN),
    "amsgrad-rkk18": (GREEN, LONG),
}
"""Colour and dash of the built-in optimizers and of the labels that built-in benchmarks give them.

Optimizers that one built-in benchmark compares differ in colour as far as nine colours allow, and in dash where their
colours are equally dark.
"""


class Style(NamedTuple):
    """How one category is drawn."""

    color: str
    dash: tuple[int, ...]
    shape: str


Pair = tuple[str, tuple[int, ...]]

_PAIRS: list[Pair] = [(color, dash) for color in COLORS for dash in DASHES]
_TRIAL = re.compile(r".* · (?P<optimizer>.*) · seed \d+", re.DOTALL)


def optimizer_styles(names: Iterable[str], of: Mapping[str, str] = MappingProxyType({})) -> dict[str, Style]:
    """The style of each optimizer on a chart; up to 63 optimizers differ in colour or dash.

    ``of`` gives the optimizers of names that are none, such as trials. The first name of an optimizer has its style,
    and further ones keep the colour and differ in dash.

    >>> optimizer_styles(["sgd"])["sgd"] == optimizer_styles(["adam", "mine", "sgd"])["sgd"]
    True
    """
    return _placed({name: _preferred(of.get(name, name)) for name in _known_first(names, of)})


def trial_styles(titles: Iterable[str]) -> dict[str, Style]:
    """The style of each trial by its title, such as "digits-mlp · adam · seed 0".

    The first trial of an optimizer has the optimizer's style. Its further trials keep the colour and differ in dash.
    """
    found = {title: _TRIAL.fullmatch(title) for title in dict.fromkeys(titles)}
    names = {title: match["optimizer"] if match else title for title, match in found.items()}
    order = sorted(names, key=lambda title: names[title] not in OPTIMIZERS)
    return _placed({title: _preferred(names[title]) for title in order})


def category_styles(names: Sequence[str]) -> dict[str, Style]:
    """The style of categories such as splits or layers, by their order; the first 63 styles differ."""
    return {
        name: _style((COLORS[place % len(COLORS)], DASHES[place % len(DASHES)]))
        for place, name in enumerate(dict.fromkeys(names))
    }


def _known_first(names: Iterable[str], of: Mapping[str, str]) -> list[str]:
    return sorted(set(names), key=lambda name: (of.get(name, name) not in OPTIMIZERS, ELSEWHERE in name, name))


ELSEWHERE = " · in "
"""Stands between an optimizer's name and the benchmark that it is from, where a chart shows several."""


def _preferred(name: str) -> Pair:
    # an optimizer of another benchmark keeps its colour
    name = name.split(ELSEWHERE)[0]
    if name in OPTIMIZERS:
        return OPTIMIZERS[name]
    # Python's own hash of a string differs from process to process
    return _PAIRS[int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:4]) % len(_PAIRS)]


def _placed(preferred: dict[str, Pair]) -> dict[str, Style]:
    """Give each name its preferred pair or, where that is taken, the next free pair, first of the same colour."""
    taken: set[Pair] = set()
    styles = {}
    for name, pair in preferred.items():
        color, dash = pair
        place, turn = _PAIRS.index(pair), DASHES.index(dash)
        same_color = [(color, other) for other in (*DASHES[turn:], *DASHES[:turn])]
        free = (one for one in (*same_color, *_PAIRS[place:], *_PAIRS[:place]) if one not in taken)
        chosen = next(free, pair)
        taken.add(chosen)
        styles[name] = _style(chosen)
    return styles


def _style(pair: Pair) -> Style:
    color, dash = pair
    return Style(color, dash, SHAPES[DASHES.index(dash)])

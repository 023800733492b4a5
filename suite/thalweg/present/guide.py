"""The documentation as the app shows it: the pages that ship with the package, as Markdown."""

from __future__ import annotations

import re
from pathlib import Path

import thalweg

PAGES = (
    "tutorial", "plugins", "optimizers", "benchmarks", "tuning", "probes", "look", "import", "claims", "compare", "ci",
    "running", "tracks", "scoring", "results", "app", "results-on-disk", "limits",
)  # fmt: skip
"""The pages, in the order in which the app lists them."""

_PICTURE = re.compile(r"!\[[^\]]*\]\([^)]*\)\n*")
_LINK = re.compile(r"\[([^\]]+)\]\(([a-z0-9-]+)\.md(#[a-z0-9-]+)?\)")
_OTHER = re.compile(r"\[([^\]]+)\]\((?!https?:|/|#)[^)]*\)")


def folder() -> Path | None:
    """Where the pages lie: in the installed package, or in the checkout; None where they are not there."""
    package = Path(thalweg.__file__).resolve().parent
    places = (package / "docs", package.parents[1] / "docs")
    return next((place for place in places if (place / f"{PAGES[0]}.md").is_file()), None)


def pages() -> list[str]:
    """The names of the pages that are there."""
    place = folder()
    return [name for name in PAGES if place is not None and (place / f"{name}.md").is_file()]


def text(name: str) -> str:
    """A page in Markdown. Links to other pages lead to pages of the app; pictures are left out.

    Raises:
        OSError: the page cannot be read.
    """
    place = folder()
    if place is None or name not in PAGES:
        raise FileNotFoundError(2, "no such page", name)
    return as_shown((place / f"{name}.md").read_text(encoding="utf-8"))


def as_shown(markdown: str) -> str:
    """Markdown without pictures, and with links that lead somewhere in the app.

    >>> as_shown("![A](a.png)\\nSee [tuning](tuning.md#budgets), [b](c/d.md) and [e](https://example.org).")
    'See [tuning](/docs?doc=tuning#budgets), b and [e](https://example.org).'
    """
    known = re.sub(_PICTURE, "", markdown)
    linked = _LINK.sub(
        lambda found: f"[{found[1]}](/docs?doc={found[2]}{found[3] or ''})" if found[2] in PAGES else found[1], known
    )
    return _OTHER.sub(r"\1", linked)

"""Cuts Streamlit's font of icons down to the icons that its scripts and thalweg's name: ``nox -s icons``."""

from __future__ import annotations

import re
from pathlib import Path

import streamlit
from fontTools import subset
from fontTools.ttLib import TTFont

ROOT = Path(__file__).resolve().parents[1]
STATIC = Path(streamlit.__file__).parent / "static" / "static"
FONTS = ROOT / "suite" / "thalweg" / "app" / "server" / "icons"


def icons(font: TTFont) -> dict[str, str]:
    """The glyph of each icon by the icon's name: the ligature of the letters of the name."""
    letters = {glyph: chr(code) for code, glyph in font.getBestCmap().items()}
    found = {}
    for lookup in font["GSUB"].table.LookupList.Lookup:
        for table in lookup.SubTable:
            for first, ligatures in table.ExtSubTable.ligatures.items():
                for each in ligatures:
                    found["".join(letters[glyph] for glyph in (first, *each.Component))] = each.LigGlyph
    return found


def named() -> set[str]:
    """The icons that scripts name."""
    scripts = [*(STATIC / "js").glob("*.js"), *(ROOT / "suite").rglob("*.py")]
    return {name for path in scripts for name in re.findall(r":material/([a-z0-9_]+):", path.read_text("utf-8"))}


def main() -> None:
    """Write the font, and the names that it has."""
    (whole,) = (STATIC / "media").glob("MaterialSymbols-*.woff2")
    font = TTFont(whole)
    glyphs = icons(font)
    names = sorted(named() & glyphs.keys())
    options = subset.Options(flavor="woff2", layout_closure=False, layout_features=["*"])
    cut = subset.Subsetter(options)
    cut.populate(glyphs=[glyphs[name] for name in names], text="".join(names))
    cut.subset(font)
    for old in FONTS.glob("*.woff2"):
        old.unlink()
    subset.save_font(font, FONTS / whole.name, options)
    (FONTS / "names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

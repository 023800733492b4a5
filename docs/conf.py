"""The documentation site: ``nox -s docs`` builds it into docs/_build.

The reference is generated: Python from docstrings, benchmark files from their models, hooks from their specifications,
and the command line by typer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

import thalweg

sys.path.insert(0, str(Path(__file__).parent))
import benchmark_keys

project = "thalweg"
author = project_copyright = "The thalweg developers"
version = release = thalweg.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "examples"]
html_theme = "furo"
html_title = f"thalweg {release}"

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_inherit_docstrings = False


def write_reference(app: Sphinx) -> None:
    """Write the references of benchmark files, from their schema, and of the command line, from ``thalweg.cli``."""
    folder = Path(app.srcdir) / "reference" / "generated"
    folder.mkdir(exist_ok=True)
    (folder / "benchmark-file.md").write_text(benchmark_keys.page(), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "typer",
        "thalweg.cli",
        "utils",
        "docs",
        "--name",
        "thalweg",
        "--title",
        "Command line",
    ]
    # colours and widths of the terminal must not change the page
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "120"}
    subprocess.run([*command, "--output", str(folder / "command-line.md")], check=True, env=environment)


def read_google_style(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Read sections such as ``Args:``. In an attribute, napoleon would take the text before a colon for a type."""
    if what not in ("attribute", "data", "property"):
        lines[:] = GoogleDocstring(lines, Config(), app, what, name, obj).lines()


def setup(app: Sphinx) -> None:
    """Connect what this file adds to Sphinx."""
    app.connect("builder-inited", write_reference)
    app.connect("autodoc-process-docstring", read_google_style)

"""The documentation site: ``nox -s docs`` builds it into docs/_build.

The reference is generated: Python from docstrings, benchmark files from their models, hooks from their specifications,
and the command line by typer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sphinx.application import Sphinx

import thalweg

project = "thalweg"
author = "The thalweg developers"
version = release = thalweg.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
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


def write_command_line(app: Sphinx) -> None:
    """Write the reference of the command line, from its declarations in ``thalweg.cli``."""
    folder = Path(app.srcdir) / "reference" / "generated"
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "typer", "thalweg.cli", "utils", "docs", "--name", "thalweg"]
    # colours and widths of the terminal must not change the page
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "120"}
    subprocess.run([*command, "--output", str(folder / "command-line.md")], check=True, env=environment)


def setup(app: Sphinx) -> None:
    """Generate pages before Sphinx looks for them."""
    app.connect("builder-inited", write_command_line)

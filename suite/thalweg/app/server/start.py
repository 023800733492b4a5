"""Streamlit's command line, ending as thalweg's does when it is interrupted: ``python -m thalweg.app.server.start``."""

from __future__ import annotations

import sys

import click
from streamlit.web.cli import main


def start() -> None:
    """Run it; exit code 130 after Ctrl-C."""
    try:
        main(standalone_mode=False)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


if __name__ == "__main__":
    start()

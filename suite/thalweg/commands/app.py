"""``thalweg app``."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from thalweg.errors import UserError
from thalweg.registry import load_registry
from thalweg.store.results import results_root

_FLAGS = (
    "--browser.gatherUsageStats=false",
    "--server.headless=true",
    "--server.address=localhost",
    "--client.toolbarMode=minimal",
)


def app_command(results: Path | None, port: int, plugin_files: list[Path]) -> int:
    """Start streamlit on the app until it is interrupted."""
    if importlib.util.find_spec("streamlit") is None:
        raise UserError("the app needs streamlit: pip install 'thalweg[app]'")
    load_registry(plugin_files)  # a plugin file that is not there is said here and not in the browser
    script = Path(__file__).resolve().parents[1] / "app" / "main.py"
    environment = {
        **os.environ,
        "THALWEG_RESULTS": str(results_root(results).absolute()),
        "THALWEG_PLUGIN_FILES": os.pathsep.join(str(path.absolute()) for path in plugin_files),
    }
    command = [sys.executable, "-m", "streamlit", "run", str(script), f"--server.port={port}", *_FLAGS]
    if os.name == "posix":
        # become streamlit, so that whoever stops this process stops it
        os.execve(sys.executable, command, environment)
    try:
        return subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 130

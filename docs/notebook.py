"""Runs docs/notebooks/look.ipynb in a Jupyter kernel, and keeps numbers and pictures in it.

Run ``python docs/notebook.py`` after a change of a cell.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

PAGE = Path(__file__).parent / "notebooks" / "look.ipynb"

_SPEC = re.compile(r"\}\)\((\{.*?\}), (\{\"mode\".*?\})\);\s*</script>", re.DOTALL)
"""The chart in altair's page, and its options."""


def run(path: Path) -> Any:
    """The notebook with the outputs of a kernel of this Python."""
    made = nbformat.read(path, as_version=4)
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    NotebookClient(made, timeout=300, kernel_name="python3").execute()
    return made


def with_pictures(made: Any) -> None:
    """Put pictures in the place of charts, which take scripts from elsewhere."""
    import vl_convert

    for cell in made.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            found = _SPEC.search(data.get("text/html", ""))
            if found:
                spec = json.loads(found[1])
                if spec.get("width") == "container":
                    spec |= {"width": 640, "autosize": {"type": "fit-x", "contains": "padding"}}
                png = vl_convert.vegalite_to_png(spec, scale=1.0, allowed_base_urls=[])
                output["data"] = {"image/png": base64.b64encode(png).decode(), "text/plain": data["text/plain"]}


def main() -> None:
    """Run and write."""
    made = run(PAGE)
    with_pictures(made)
    nbformat.write(made, PAGE)


if __name__ == "__main__":
    main()

"""Texts, JSON and YAML of other programs, with limits of size."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thalweg.errors import UserError
from thalweg.limits import DOCUMENT_BYTES, LINE_BYTES


def text_of(path: Path) -> str:
    """The whole text of a file.

    Raises:
        UserError: the file is too large, or cannot be read as UTF-8.
    """
    try:
        DOCUMENT_BYTES.check(path.stat().st_size, str(path))
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def head_of(path: Path, size: int = 4096) -> str:
    """The first characters of a file, with marks for bytes that are no text; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(size).decode("utf-8-sig", errors="replace")
    except OSError:
        return ""


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a text, one at a time.

    Raises:
        UserError: a line is too long, or the file cannot be read.
    """
    most = LINE_BYTES.value
    try:
        with path.open("rb") as file:
            while line := file.readline(most + 1):
                if len(line) > most:
                    raise LINE_BYTES.reached(f"{path}: a line")
                yield line.decode("utf-8", errors="replace").rstrip("\r\n")
    except OSError as error:
        raise _unreadable(path, error) from error


def json_of(path: Path) -> Any:
    """A JSON document; bare ``NaN`` and ``Infinity`` are numbers.

    Raises:
        UserError: the file is too large, or is no JSON.
    """
    try:
        return json.loads(text_of(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is no JSON document that can be read ({_line(error)})") from error


def table_of(path: Path) -> dict[str, Any]:
    """A JSON document that is an object; UserError where it is another document."""
    found = json_of(path)
    if not isinstance(found, dict):
        raise UserError(f"{path}: is a JSON document without an object")
    return found


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file with one JSON object a line. A last line that a kill cut off is left out."""
    broken = ""
    for number, line in enumerate(lines_of(path), 1):
        if broken:
            raise UserError(broken)
        if line.strip():
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                broken = f"{path}: line {number} is no JSON ({_line(error)})"
                continue
            if isinstance(found, dict):
                yield found


def yaml_of(path: Path) -> Any:
    """A YAML document as numbers, texts, lists and tables. A Python object in it becomes None, and is never made.

    Raises:
        UserError: the file is too large, or is no YAML.
    """
    import yaml

    try:
        return yaml.load(text_of(path), Loader=_data_loader())
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: is no YAML document that can be read ({_line(error)})") from error


def _data_loader() -> Any:
    """YAML's safe loader, for which a tag that it does not know is a value without meaning."""
    import yaml

    class DataLoader(yaml.SafeLoader):  # type: ignore[misc, unused-ignore]
        """Reads ``1e-3`` as a number, which YAML 1.1 takes for a text."""

    DataLoader.add_constructor("tag:yaml.org,2002:python/tuple", DataLoader.construct_yaml_seq)
    DataLoader.add_multi_constructor("", lambda loader, suffix, node: None)
    DataLoader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
    )
    return DataLoader


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: cannot be read ({_line(error)})")


def _line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(f"{type(error).__name__}: {text}".split())[:200]

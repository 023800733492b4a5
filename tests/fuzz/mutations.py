"""Ways to spoil results on disk, drawn by hypothesis: documents, tables, texts, bytes, names and kinds of files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

import hostile

TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", "..", "../x", "/", "/etc/passwd", "a\0b", "\x1b[31mred", "train", "test", "loss", "nan", "-1"]
    ),
    st.sampled_from(["=1+1", "<b>", "`x`", "a|b", "[bold]", "$x$", "\u202e", "a" * 300, "\ud800", "1e400"]),
)
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**30, 1e308, -0.0]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
CELLS = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(),
    pa.string(): st.text(st.characters(codec="utf-8"), max_size=10),
    pa.bool_(): st.booleans(),
    pa.binary(): st.binary(max_size=5),
    pa.list_(pa.float64()): st.lists(st.floats(), max_size=3),
    pa.timestamp("ns"): st.integers(-(2**63), 2**63 - 1),
    pa.decimal128(10, 2): st.decimals(-1000, 1000, places=2),
    pa.null(): st.none(),
}


def _places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each value in a document."""
    found = [way] if way else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += _places(item, (*way, key))
    return found


def _edit(data: st.DataObject, document: Any) -> None:
    """Replace, remove or add one value."""
    way = data.draw(st.sampled_from(_places(document)), "place")
    holder = document
    for key in way[:-1]:
        holder = holder[key]
    how = data.draw(st.sampled_from(["replace", "remove", "add"]), "how")
    if how == "remove":
        del holder[way[-1]]
    elif how == "add" and isinstance(holder, dict):
        holder[data.draw(TEXTS, "key")] = data.draw(VALUES, "value")
    else:
        holder[way[-1]] = data.draw(VALUES, "value")


def document(data: st.DataObject, trial: Path) -> None:
    """Edit the document, as JSON."""
    path = trial / "trial.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    for _ in range(data.draw(st.integers(1, 3), "edits")):
        _edit(data, found)
    path.write_text(json.dumps(found), encoding="utf-8", errors="surrogatepass")


def rehashed_document(data: st.DataObject, trial: Path) -> None:
    """Edit the trial's settings, with a matching hash and folder name, as the author of the folder could."""
    from thalweg.trial import Trial

    path = trial / "trial.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    _edit(data, found["trial"])
    try:
        asked = Trial.model_validate(found["trial"])
        found["hash"] = asked.hash
        path.write_text(json.dumps(found), encoding="utf-8", errors="surrogatepass")
        place = trial.with_name(f"{found['workload']}--{asked.optimizer.name}--{asked.hash}")
        if not place.exists():
            trial.rename(place)
    except (ValueError, OSError):
        pass


def table(data: st.DataObject, trial: Path) -> None:
    """A table with other columns, types, values and lengths, with the digest that the document wants."""
    names = sorted(path.relative_to(trial).as_posix() for path in trial.rglob("*.parquet"))
    name = data.draw(st.sampled_from(names), "table")
    old = pq.read_table(trial / name)
    kinds = list(CELLS)
    rows = data.draw(st.integers(0, 4), "rows")
    columns: dict[str, pa.Array] = {}
    for column in old.column_names:
        match data.draw(st.sampled_from(["keep", "keep", "keep", "drop", "retype", "values"]), column):
            case "keep":
                columns[column] = old.column(column).slice(0, rows).combine_chunks()
            case "values" if old.schema.field(column).type in CELLS:
                cells = st.one_of(st.none(), CELLS[old.schema.field(column).type])
                values = data.draw(st.lists(cells, min_size=rows, max_size=rows))
                columns[column] = pa.array(values, old.schema.field(column).type)
            case "retype" | "values":
                kind = data.draw(st.sampled_from(kinds), "type")
                values = data.draw(st.lists(CELLS[kind], min_size=rows, max_size=rows))
                columns[column] = pa.array(values, kind)
    length = min((len(column) for column in columns.values()), default=0)
    new = pa.table({key: column.slice(0, length) for key, column in columns.items()})
    metadata = old.schema.metadata or {}
    if data.draw(st.booleans(), "settings"):
        metadata = {**metadata, b"thalweg": json.dumps(data.draw(VALUES, "metadata")).encode()}
    pq.write_table(new.replace_schema_metadata(metadata), trial / name)
    put(trial, name)


def put(trial: Path, name: str) -> None:
    """Give the document the digest of a file."""
    digest = hashlib.sha256((trial / name).read_bytes()).hexdigest()
    hostile.change(trial, lambda found: found["files"].update({name: digest}))


def bytes_of(data: st.DataObject, path: Path) -> None:
    """Change, cut or add bytes."""
    content = bytearray(path.read_bytes())
    match data.draw(st.sampled_from(["flip", "cut", "insert", "empty"]), "how"):
        case "flip" if content:
            place = data.draw(st.integers(0, len(content) - 1), "place")
            content[place] ^= data.draw(st.integers(1, 255), "bits")
        case "cut":
            content = content[: data.draw(st.integers(0, len(content)), "length")]
        case "insert":
            place = data.draw(st.integers(0, len(content)), "place")
            content[place:place] = data.draw(st.binary(min_size=1, max_size=20), "bytes")
        case _:
            content = bytearray()
    path.write_bytes(bytes(content))


def bytes_of_a_file(data: st.DataObject, trial: Path) -> None:
    """Change bytes of a file; half of the time its digest fits."""
    names = sorted(path.relative_to(trial).as_posix() for path in trial.rglob("*") if path.is_file())
    name = data.draw(st.sampled_from(names), "file")
    bytes_of(data, trial / name)
    if name != "trial.json" and data.draw(st.booleans(), "digest"):
        put(trial, name)


def kind(data: st.DataObject, trial: Path) -> None:
    """Put something else in a file's place."""
    names = sorted(path.relative_to(trial).as_posix() for path in trial.rglob("*"))
    place = trial / data.draw(st.sampled_from(names), "file")
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
    makes: dict[str, Callable[[], object]] = {
        "pipe": lambda: os.mkfifo(place),
        "folder": place.mkdir,
        "device": lambda: place.symlink_to("/dev/zero"),
        "loop": lambda: place.symlink_to(place),
        "outside": lambda: place.symlink_to(trial.parents[3] / "outside"),
        "nothing": lambda: None,
    }
    makes[data.draw(st.sampled_from(sorted(makes)), "kind")]()


def name_of(data: st.DataObject, trial: Path) -> None:
    """Another name for the trial's folder."""
    name = data.draw(TEXTS, "name")
    if name.strip(".") and not {"/", "\0"} & set(name):
        with suppress(OSError, UnicodeEncodeError):
            trial.rename(trial.with_name(name))


TRIAL = [document, rehashed_document, table, bytes_of_a_file, kind, name_of]


def benchmark_text(data: st.DataObject, path: Path) -> None:
    """Edit a benchmark's file: a line, a value, or bytes."""
    lines = path.read_text(encoding="utf-8").splitlines()
    number = data.draw(st.integers(0, len(lines) - 1), "line")
    match data.draw(st.sampled_from(["value", "value", "drop", "twice", "text", "bytes"]), "how"):
        case "value" if "=" in lines[number]:
            key = lines[number].partition("=")[0]
            lines[number] = f"{key}= {_toml(data.draw(VALUES, 'value'))}"
        case "drop":
            del lines[number]
        case "twice":
            lines.insert(number, lines[number])
        case "text":
            lines[number] = data.draw(st.text(st.characters(codec="utf-8"), max_size=30), "text")
        case _:
            bytes_of(data, path)
            return
    path.write_text("\n".join(lines), encoding="utf-8")


def _toml(value: Any) -> str:
    """A value as TOML, or what is nearly TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value)
    return "''" if value is None else str(value)

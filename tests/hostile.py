"""Results from a stranger: sound trials among hostile trials, which try everything that a folder can do to a reader.

The attacks are harmless: they write, remove or run only a marker beside the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FAR = "1" * 12
"""The hash of an invented trial, which no real trial has."""


def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edit a trial's document."""
    path = folder / "trial.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    edit(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def put(folder: Path, name: str, content: bytes) -> None:
    """Replace a file of a trial, and its digest in the trial's document."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    change(folder, lambda document: document["files"].update({name: hashlib.sha256(content).hexdigest()}))


def curve_of(folder: Path, count: int, text: str) -> None:
    """A curve of ``rows`` rows, each with the same text, in a file of a few kilobytes."""
    about = pq.read_schema(folder / "curve.parquet")
    one = {name: pa.array([text]) if name in ("split", "metric") else pa.array([0], about.field(name).type)
           for name in about.names}  # fmt: skip
    codes = pa.array(np.zeros(count, np.int32))
    table = pa.table({name: pa.DictionaryArray.from_arrays(codes, value) for name, value in one.items()})
    # without the stored types, a reader gets plain values
    pq.write_table(table, folder / "curve.parquet", compression="zstd", store_schema=False)
    put(folder, "curve.parquet", (folder / "curve.parquet").read_bytes())


def linked(folder: Path, outside: Path) -> None:
    """Replace the trial's folder by a link to a folder elsewhere."""
    shutil.rmtree(folder)
    folder.symlink_to(outside, target_is_directory=True)


def replaced(folder: Path, name: str, make: Callable[[Path], object]) -> None:
    """Replace a file by something that is not a regular file."""
    path = folder / name
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    make(path)


def moved_probes(folder: Path, outside: Path) -> None:
    (outside / "probes").mkdir(exist_ok=True)
    (outside / "probes" / "x.parquet").write_bytes(b"PAR1")
    digest = hashlib.sha256(b"PAR1").hexdigest()
    change(folder, lambda document: document["files"].update({"probes/x.parquet": digest}))
    shutil.rmtree(folder / "probes", ignore_errors=True)
    (folder / "probes").symlink_to(outside / "probes", target_is_directory=True)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _sized(path: Path, size: int) -> None:
    """A file that has a size but no content on disk."""
    with path.open("wb") as file:
        file.truncate(size)


Item = Callable[[Path, Path], object]

TRIALS: dict[str, Item] = {
    "absolute workload": lambda f, out: change(f, lambda d: d.update(workload=str(out / "moved"))),
    "workload that climbs": lambda f, out: change(f, lambda d: d.update(workload="../../../../outside/moved")),
    "optimizer that climbs": lambda f, out: change(
        f, lambda d: d["trial"]["optimizer"].update(name="../../../outside/moved")
    ),
    "hash that climbs": lambda f, out: change(f, lambda d: d.update(hash="../../outside")),
    "hash of another": lambda f, out: change(f, lambda d: d.update(hash=FAR)),
    "file that climbs": lambda f, out: change(
        f, lambda d: d["files"].update({"../../../outside/secret.txt": "0" * 64})
    ),
    "absolute file": lambda f, out: change(f, lambda d: d["files"].update({str(out / "secret.txt"): "0" * 64})),
    "NUL in a file's name": lambda f, out: change(f, lambda d: d["files"].update({"a\0b": "0" * 64})),
    "NUL in the workload": lambda f, out: change(f, lambda d: d.update(workload="a\0b")),
    "probe that climbs": lambda f, out: change(f, lambda d: d["probes"].update({"../x": {"status": "done"}})),
    "pipe as document": lambda f, out: replaced(f, "trial.json", os.mkfifo),
    "pipe as curve": lambda f, out: replaced(f, "curve.parquet", os.mkfifo),
    "pipe beside": lambda f, out: os.mkfifo(f / "pipe"),
    "pipe among probes": lambda f, out: ((f / "probes").mkdir(exist_ok=True), os.mkfifo(f / "probes" / "pipe")),
    "link to a device as document": lambda f, out: replaced(f, "trial.json", lambda p: p.symlink_to("/dev/zero")),
    "link to a device as curve": lambda f, out: replaced(f, "curve.parquet", lambda p: p.symlink_to("/dev/zero")),
    "link to a file as curve": lambda f, out: replaced(f, "curve.parquet", lambda p: p.symlink_to(out / "secret.txt")),
    "trial is a link": linked,
    "probes are a link": moved_probes,
    "folder as document": lambda f, out: replaced(f, "trial.json", Path.mkdir),
    "document without end": lambda f, out: _sized(f / "trial.json", 1 << 40),
    "curve without end": lambda f, out: _sized(f / "curve.parquet", 1 << 40),
    "rows by the million": lambda f, out: curve_of(f, 20_000_000, "train"),
    "one long text in each row": lambda f, out: curve_of(f, 5_000, "x" * (1 << 20)),
    "deep document": lambda f, out: (f / "trial.json").write_text(
        '{"summary": ' + "[" * 100_000 + "]" * 100_000 + "}", encoding="utf-8"
    ),
    "deep option": lambda f, out: change(f, lambda d: d["summary"].update(extra=_nested(150))),
    "numbers that are texts": lambda f, out: change(f, lambda d: d["summary"].update(final={"test": {"loss": "x"}})),
    "final that is a list": lambda f, out: change(f, lambda d: d["summary"].update(final=[1, 2])),
    "packages that are a text": lambda f, out: change(f, lambda d: d["environment"].update(packages="torch")),
    "endless integer": lambda f, out: (f / "trial.json").write_text(
        (f / "trial.json").read_text(encoding="utf-8").replace('"seed": ', '"seed": ' + "9" * 400), encoding="utf-8"
    ),
    "control signs in the reason": lambda f, out: change(
        f, lambda d: d.update(status="failed", reason="\x1b[2J\x1b]0;owned\x07 \u202egnp.exe")
    ),
    "no table as curve": lambda f, out: put(f, "curve.parquet", b"PAR1" + bytes(40) + b"PAR1"),
}
"""Functions that make a trial hostile, by the name of the attack.

Each is called with the trial's folder and a folder outside of the results.
"""

SHOWN = {"control signs in the reason", "no table as curve", "deep option", "pipe beside", "pipe among probes"}
SHOWN |= {"rows by the million", "one long text in each row"}
"""Attacks that leave the document sound. Lists show such a trial; commands that read more report the fault."""


def leftovers(results: Path, sound: Path, outside: Path) -> None:
    """Leftovers of killed runs, with names that lead elsewhere."""
    working = results / ".working"
    working.mkdir(exist_ok=True)
    climbing = working / "222222222222"
    shutil.copytree(sound, climbing)
    (climbing / "trial.json").rename(climbing / "started.json")
    change_started(climbing / "started.json", workload="../../../outside/moved", hash="222222222222")
    old = working / "333333333333.old"
    shutil.copytree(sound, old)
    change(old, lambda document: document.update(workload=str(outside / "moved"), hash="333333333333"))
    (working / "444444444444").symlink_to(outside, target_is_directory=True)
    (working / "555555555555.old").symlink_to(outside, target_is_directory=True)
    (working / "..old").mkdir()
    (working / "222222222222.lock").symlink_to(outside / "secret.txt")
    (working / f"{sound.name.rpartition('--')[2]}.lock").unlink(missing_ok=True)
    (working / f"{sound.name.rpartition('--')[2]}.lock").symlink_to(outside / "secret.txt")
    (results / ".partial").mkdir(exist_ok=True)
    (results / ".partial" / f"{FAR}--training.pt").symlink_to(outside / "secret.txt")
    (results / ".partial" / f"{FAR}--surface").symlink_to(outside, target_is_directory=True)
    os.mkfifo(results / ".partial" / f"{FAR}--line")


def change_started(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | fields), encoding="utf-8")


def outside_of(root: Path) -> Path:
    """A folder beside the results, with something to lose."""
    outside = root / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("mine", encoding="utf-8")
    (outside / "folder").mkdir()
    (outside / "folder" / "more.txt").write_text("mine too", encoding="utf-8")
    return outside


def tree(folder: Path) -> dict[str, str]:
    """Every path below a folder, with the digest of a file or the target of a link."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file() and path.stat().st_size < 1 << 30:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = oct(path.stat().st_mode)
    return found

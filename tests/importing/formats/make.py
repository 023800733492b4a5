"""Runs the script of one format and packs what it wrote: ``python make.py NAME [FOLDER]`` writes FOLDER/NAME.zip."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LARGEST = 300_000
LEFT_OUT = {".bin", ".ckpt", ".pkl", ".pt", ".pth", ".pyc", ".safetensors"}
"""Checkpoints and caches, which no reader needs."""
KEPT = {"ray": {"params.json", "progress.csv", "result.json"}, "wandb": {"*.wandb"}}
"""The files to keep of the libraries that write much besides."""


def logged(folder: Path) -> list[Path]:
    """The files to keep, in the order of their names."""
    files = {path for kept in KEPT.get(folder.name, {"*"}) for path in folder.rglob(kept) if path.is_file()}
    own = {path for path in files if not any(part.is_symlink() for part in (path, *path.parents))}
    small = {path for path in own if path.suffix == ".db" or path.stat().st_size <= LARGEST}
    return sorted(path for path in small if path.suffix not in LEFT_OUT)


def pack(folder: Path, archive: Path) -> None:
    """The same files give the same archive, whenever they were written."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in logged(folder):
            member = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
            member.external_attr = 0o644 << 16
            packed.writestr(member, path.read_bytes(), zipfile.ZIP_DEFLATED)


def make(name: str, into: Path) -> None:
    """Runs a copy of the script, so that no library records where this folder lies."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / name
        scripts = Path(temporary) / "tests" / "importing" / "formats"
        shutil.copytree(HERE, scripts, ignore=shutil.ignore_patterns("*.zip", "__pycache__"))
        shutil.copy(HERE.parents[1] / "importing_runs.py", scripts.parents[1])
        script = f"write_{name.replace('-', '_')}.py"
        subprocess.run([sys.executable, script, str(folder)], cwd=scripts, check=True)
        pack(folder, into / f"{name}.zip")


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else HERE)

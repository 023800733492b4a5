"""``thalweg results unpack``."""

from __future__ import annotations

import os
from pathlib import Path

from thalweg.benchmark_file import NAME, NAMING
from thalweg.console import console, print_json
from thalweg.errors import UserError
from thalweg.exit_codes import ExitCode
from thalweg.present import sentences
from thalweg.store.packed_format import SUFFIX, is_packed
from thalweg.store.roots import results_root
from thalweg.store.unpack import unpack


def unpack_command(packed: Path, out: Path | None, force: bool, as_json: bool) -> ExitCode:
    """Make a benchmark's folder of a packed file, in ``out`` or among the results."""
    root = results_root(out)
    name = packed.name.removesuffix(SUFFIX)
    if not is_packed(packed):
        raise UserError(f"{packed}: there is no such file, or its name does not end in {SUFFIX}")
    if not NAME.fullmatch(name):
        raise UserError(f"{packed}: the name {NAMING}")
    folder = root / name
    if is_packed(root) or os.path.lexists(root / (name + SUFFIX)):
        raise UserError(f"--out {root}: the packed file is there too, and only one can count: name another folder")
    if os.path.lexists(folder) and not force:
        raise UserError(f"{folder}: is there already: --force replaces it, --out names another folder")
    try:
        done = unpack(packed.resolve(), folder)
    except OSError as error:
        raise UserError(f"{error.filename or packed}: {error.strerror}") from error
    if as_json:
        print_json({"benchmark": name, "path": str(done.path), "trials": done.trials, "files": done.files})
    else:
        console().print(
            f"{name}: {sentences.count(done.trials, 'trial')}, {sentences.count(done.files, 'file')}: {done.path}",
            markup=False,
        )
    return ExitCode.DONE

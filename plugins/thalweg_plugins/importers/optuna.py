"""Reads Optuna's SQLite storage: each trial with its intermediate values."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError
from thalweg.foreign.cells import is_number
from thalweg.foreign.database import Tables, is_sqlite, tables_of
from thalweg.foreign.rows import Rows

KEY = "intermediate"
"""The key of the values that ``trial.report`` got: Optuna keeps no name of them."""

_KINDS = {"NAN": math.nan, "INF_POS": math.inf, "INF_NEG": -math.inf}


class Optuna(thalweg.Importer):
    """A run for each trial that came to its end; a study is a workload.

    ``--map valid.accuracy=intermediate`` says what the reported values are. A value without content has a type, such as
    NAN or INF_POS. Optuna keeps the first report of a step. A trial that returned nan counts as failed for Optuna, and
    as diverged here.
    """

    name = "optuna"
    summary = "SQLite storage of Optuna, with what trial.report got"
    source = "optuna 5.0, optuna.storages.RDBStorage"

    def recognises(self, path: Path) -> bool:
        """Whether the file is a SQLite file with Optuna's tables."""
        if path.suffix not in (".db", ".sqlite", ".sqlite3") or not is_sqlite(path):
            return False
        try:
            with tables_of(path) as tables:
                return {"trials", "trial_intermediate_values", "studies"} <= tables.names()
        except UserError:
            return False

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """The trials of storages."""
        for path in files:
            with tables_of(path) as tables:
                yield from _of(path, tables, context)


def _of(path: Path, tables: Tables, context: ImportContext) -> Iterator[ForeignRun]:
    studies = dict(tables.rows("studies", "study_id, study_name"))
    rows: dict[int, Rows] = defaultdict(lambda: Rows(str(path)))
    ends: dict[int, float] = {}
    columns = "trial_id, step, intermediate_value, intermediate_value_type"
    for trial, step, value, kind in tables.rows("trial_intermediate_values", columns, "trial_id, step"):
        ends[trial] = _KINDS.get(kind, math.nan if value is None else value)
        rows[trial].add(step, KEY, ends[trial])
    parameters: dict[int, dict[str, Any]] = defaultdict(dict)
    for trial, name, value, distribution in tables.rows(
        "trial_params", "trial_id, param_name, param_value, distribution_json"
    ):
        parameters[trial][name] = _value(path, value, distribution)
    if "trial_user_attributes" in tables.names():
        for trial, name, text in tables.rows("trial_user_attributes", "trial_id, key, value_json"):
            parameters[trial].setdefault(name, _json(path, text))
    left_out: Counter[str] = Counter()
    for trial, number, study, state in tables.rows("trials", "trial_id, number, study_id, state"):
        if state not in ("COMPLETE", "FAIL"):
            left_out[state] += 1
        elif trial not in rows:
            context.note("Optuna: trials that reported nothing are left out")
        else:
            name = f"{studies.get(study, study)}-{number}"
            lost = state == "FAIL"
            told = {"workload": studies.get(study, study), **parameters[trial]}
            ended: Any = ("diverged" if not math.isfinite(ends[trial]) else "failed") if lost else ""
            reason = "Optuna says FAIL" if lost else ""
            yield ForeignRun(name, path, rows[trial].table(), told, ended, reason)
    for state, many in left_out.items():
        context.note(f"Optuna: {many:,} trials are {state}, so they had another budget, and are left out")


def _value(path: Path, value: Any, distribution: str) -> Any:
    """A parameter: of a categorical one SQLite has the index among its choices."""
    found = _json(path, distribution)
    attributes = found.get("attributes", {}) if isinstance(found, dict) else {}
    choices = attributes.get("choices")
    if isinstance(choices, list) and is_number(value) and 0 <= int(value) < len(choices):
        return choices[int(value)]
    whole = isinstance(found, dict) and str(found.get("name", "")).startswith("Int")
    return int(value) if whole and isinstance(value, float) and math.isfinite(value) else value


def _json(path: Path, text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: has a parameter that is no JSON") from error

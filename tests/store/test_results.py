from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest
import torch

import thalweg.store.documents as documents
from thalweg.contracts.budget import Budget
from thalweg.failure import Failure
from thalweg.store.documents import ProbeDocument, TrialDocument
from thalweg.store.files import FolderFiles
from thalweg.store.index import read_stored
from thalweg.store.sweep import killed, sweep
from thalweg.store.tables import read_metadata, read_table
from thalweg.store.verify import verify
from thalweg.store.writing import ResultsFolder
from thalweg.training.recorder import Recorder
from thalweg.trial import ComponentRef, ProbeRequest, Trial


def document(**changes: Any) -> TrialDocument:
    trial = Trial(
        problem=ComponentRef(name="digits", provider="p"),
        architecture=ComponentRef(name="mlp", options={"widths": [8]}, provider="p"),
        optimizer=ComponentRef(name="adam", provider="p"),
        budget=Budget(epochs=1),
        seed=0,
    )
    request = ProbeRequest(label="line", probe=ComponentRef(name="line", options={"points": 5}, provider="p"))
    values: dict[str, Any] = {
        "hash": trial.hash,
        "workload": "w",
        "optimizer": "adam",
        "trial": trial,
        "status": "done",
        "summary": {"loss": 1.0},
        "probes": {request.key: ProbeDocument(request=request, status="done")},
    }
    return TrialDocument(**(values | changes))


def curve(value: float = 1.0) -> pd.DataFrame:
    recorder = Recorder()
    position = {
        "step": 0,
        "epoch": 0.0,
        "examples": 0,
        "gradient_evaluations": 0,
        "curvature_products": 0,
        "factor_inversions": 0,
        "work": 0.0,
        "seconds": 0.0,
    }
    recorder.add(position, "train", {"loss": value})
    return recorder.table()


def save(results: ResultsFolder, doc: TrialDocument, value: float = 1.0) -> Path:
    tables = {key: pd.DataFrame({"t": [0.0, 1.0]}) for key, probe in doc.probes.items() if probe.status == "done"}
    with results.claim(killed(doc)) as folder:
        return results.write(folder, doc, curve(value), tables, {"final": {"w": torch.arange(3.0)}})


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    results, doc = ResultsFolder(tmp_path, "b"), document()
    save(results, doc)
    ((stored,), unreadable) = results.scan()
    assert unreadable == []
    assert stored.document == doc.model_copy(update={"files": stored.document.files})
    assert sorted(stored.document.files) == sorted(
        path.relative_to(stored.path).as_posix() for path in stored.path.rglob("*.*") if path.name != "trial.json"
    )
    pd.testing.assert_frame_equal(stored.curve(), curve())
    (key,) = doc.probes
    assert stored.table(key)["t"].tolist() == [0, 1]
    assert read_metadata(stored.files, f"probes/{key}.parquet")["probe"]["options"] == {"points": 5}
    assert verify(results) == (1, [])


def test_a_newer_result_replaces_the_older(tmp_path: Path) -> None:
    results = ResultsFolder(tmp_path, "b")
    save(results, document(status="failed", reason="x", probes={}))
    save(results, document(), value=2.0)
    ((stored,), _) = results.scan()
    assert (stored.document.status, stored.curve()["value"].iloc[0]) == ("done", 2.0)
    assert [path for path in results.working.iterdir() if path.suffix != ".lock"] == []


def test_an_exception_while_writing_leaves_nothing_and_the_old_result(tmp_path: Path) -> None:
    results = ResultsFolder(tmp_path, "b")
    save(results, document())

    def broken() -> None:
        with results.claim(document()) as folder:
            (folder / "curve.parquet").write_bytes(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        broken()
    ((stored,), _) = results.scan()
    assert stored.document.status == "done"
    assert sweep(results) == []
    assert verify(results) == (1, [])


def test_a_kill_between_the_two_renames_loses_no_result(tmp_path: Path) -> None:
    results, doc = ResultsFolder(tmp_path, "b"), document()
    path = save(results, doc)
    path.rename(results.working / f"{doc.hash}.old")
    assert verify(results)[1]
    assert sweep(results) == []
    ((stored,), _) = results.scan()
    assert (stored.path, stored.document.hash, stored.document.status) == (path, doc.hash, "done")
    assert verify(results) == (1, [])


def test_an_unreadable_leftover_is_cleared_away(tmp_path: Path) -> None:
    results, doc = ResultsFolder(tmp_path, "b"), document()
    path = save(results, doc)
    path.rename(results.working / f"{doc.hash}.old")
    (results.working / f"{doc.hash}.old" / "trial.json").write_text("{", encoding="utf-8")
    assert sweep(results) == []
    assert results.scan() == ([], [])
    assert [item for item in results.working.iterdir() if item.suffix != ".lock"] == []


def test_a_newer_result_keeps_the_tables_that_it_was_not_asked_for(tmp_path: Path) -> None:
    results, doc = ResultsFolder(tmp_path, "b"), document()
    save(results, doc)
    ((older,), _) = results.scan()
    with results.claim(killed(doc)) as folder:
        results.write(folder, document(probes={}), curve(), {}, {}, older=older)
    ((newer,), _) = results.scan()
    (key,) = doc.probes
    assert newer.document.probes == doc.probes
    assert newer.table(key)["t"].tolist() == [0, 1]
    assert verify(results) == (1, [])


def test_a_trial_held_by_a_living_process_is_not_swept(tmp_path: Path) -> None:
    results = ResultsFolder(tmp_path, "b")
    with results.claim(killed(document(probes={}))):
        assert sweep(results) == []
    assert results.scan() == ([], [])


def flip(path: Path) -> None:
    """One bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: (path / "trial.json").unlink(), "trial.json: No such file or directory"),
        (lambda path: (path / "trial.json").write_text("{"), "trial.json: "),
        (lambda path: (path / "trial.json").write_bytes(b"\xff"), "trial.json: "),
        (lambda path: (path / "curve.parquet").write_bytes(b"PAR1"), "has changed since it was written"),
        (lambda path: (path / "curve.parquet").unlink(), "curve.parquet is missing"),
        (lambda path: next((path / "probes").iterdir()).unlink(), "is missing"),
        (lambda path: flip(path / "weights" / "final.safetensors"), "has changed since it was written"),
        (lambda path: flip(path / "curve.parquet"), "has changed since it was written"),
        (lambda path: (path / "notes.txt").write_text("hello"), "does not belong to the trial"),
        (lambda path: (path / "probes" / "notes.txt").write_text("hello"), "does not belong to the trial"),
        (lambda path: path.rename(path.with_name("w--adam--000000000000")), "belongs into a folder w--adam--"),
    ],
)
def test_verify_finds_damage(tmp_path: Path, damage: Any, says: str) -> None:
    results = ResultsFolder(tmp_path, "b")
    damage(save(results, document()))
    whole, faults = verify(results)
    assert whole == 0
    assert len(faults) == 1
    assert says in faults[0].reason, faults[0].reason


def test_the_shipped_json_schema_is_the_models_and_holds_for_what_is_written(tmp_path: Path) -> None:
    shipped = json.loads((Path(documents.__file__).parent / "trial.schema.json").read_text(encoding="utf-8"))
    assert shipped == json.loads(json.dumps(TrialDocument.model_json_schema(by_alias=True)))
    path = save(ResultsFolder(tmp_path, "b"), document())
    written = json.loads((path / "trial.json").read_text(encoding="utf-8"))
    assert written["schema"] == 1
    jsonschema.validate(written, shipped)


def test_a_killed_trial_that_an_earlier_version_called_failed_is_unfinished(tmp_path: Path) -> None:
    for kind, status in (("Killed", "unfinished"), ("Lost", "failed")):
        error = Failure(kind=kind, message="the process that trained it ended in mid-trial")
        written = document(status="failed", reason=error.line, error=error)
        results = ResultsFolder(tmp_path / kind, "b")
        save(results, written)
        stored = read_stored(results)
        assert stored.column("status") == [status]
        assert len(stored.counted.trials) == (status == "failed")


def test_the_trial_in_the_document_is_canonical() -> None:
    written = json.loads(document().to_json())
    assert written["trial"] == document().trial.canonical()
    assert "dtype" not in written["trial"]


def test_tables_survive_nan_and_infinity(tmp_path: Path) -> None:
    from thalweg.store.tables import write_table

    table = pd.DataFrame({"x": [float("nan"), float("inf"), 1.0]})
    write_table(table, tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_table(FolderFiles(tmp_path), "t.parquet"), table)

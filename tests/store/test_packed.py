"""Packed results equal their folder for every command, and no command writes to them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from packing import pack_of
from support import APP_SCRIPT, CommandLine
from thalweg import guard
from thalweg.store import archive
from thalweg.store import pack as packing
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import benchmarks_in, refused_in

BENCHMARK = """
seeds = 2

[workloads.bowl]
problem = { name = "quadratic", dim = 2 }
architecture = "point"
dtype = "float64"
budget = { steps = 4 }
evaluate_every = { steps = 2 }
target = { metric = "loss", value = 1.0 }

[optimizers.sgd]
lr = 0.01

[optimizers.adam]

[probes.line]
points = 5
seeds = [0]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``small.toml``, its results in ``folder`` and, packed, in ``packed``."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "small.toml").write_text(BENCHMARK, encoding="utf-8")
    cli = CommandLine(folder, own_process=False)
    cli("run", "small.toml", "--quiet", "--keep", "weights", "--timed", "--results", "folder")
    cli("results", "pack", "folder", "--out", "packed")
    return folder


@pytest.fixture
def both(made: Path, cli: CommandLine) -> CommandLine:
    """The command line beside copies of these."""
    shutil.copytree(made, cli.folder, dirs_exist_ok=True)
    return cli


def results_of(folder: Path) -> dict[str, bytes]:
    """The files of results in a benchmark's folder."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith(".working/")}


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    return line


def test_a_folder_comes_back_bit_by_bit(both: CommandLine) -> None:
    done = both.json("results", "unpack", "packed/small.thalweg", "--out", "again")
    assert (done["benchmark"], done["trials"]) == ("small", 4)
    assert results_of(both.folder / "again" / "small") == results_of(both.folder / "folder" / "small")
    assert sorted(path.name for path in (both.folder / "again").iterdir()) == ["small"]


def test_an_emptied_folder_beside_the_packed_file_does_not_count(both: CommandLine) -> None:
    before = both.json("leaderboard", "small.toml", "--results", "packed")
    # what is left of a folder that a checkout replaced by a packed file: the old index, which git ignored
    (both.folder / "packed" / "small" / ".index").mkdir(parents=True)
    assert both.json("leaderboard", "small.toml", "--results", "packed") == before
    assert both.json("results", "list", "--results", "packed")["trials"]
    (both.folder / "packed" / "small" / "trials").mkdir()
    assert "only one of the two can count" in one_line(both("leaderboard", "small.toml", "--results", "packed", code=2))


def test_a_shared_file_of_ones_own_benchmark_is_ranked_and_continued(both: CommandLine) -> None:
    before = both.json("leaderboard", "small.toml", "--results", "folder")
    (both.folder / "small.toml").unlink()
    assert both.json("leaderboard", "small", "--results", "packed/small.thalweg") == before
    both("report", "small", "--results", "packed", "--out", "small.html")
    assert both.json("run", "small", "--results", "packed")["trials"]["trained"] == 0
    both("results", "unpack", "packed/small.thalweg", "--out", "again")
    trials = both.json("run", "small", "--seeds", "3", "--results", "again")["trials"]
    assert trials["cached"] == len(both.json("results", "list", "--results", "packed")["trials"])
    assert trials["trained"] == trials["total"] - trials["cached"] > 0
    assert "no benchmark 'other'" in one_line(both("leaderboard", "other", "--results", "packed", code=2))


def test_a_renamed_or_missing_packed_file_is_told(both: CommandLine) -> None:
    shutil.copy(both.folder / "packed" / "small.thalweg", both.folder / "small (1).thalweg")
    told = one_line(both("leaderboard", "small.toml", "--results", "small (1).thalweg", code=2))
    assert "it holds the results of 'small (1)', and not those of 'small'" in told
    for words in (["run", "small.toml"], ["leaderboard", "small.toml"], ["results", "list"]):
        told = one_line(both(*words, "--results", "nope.thalweg", code=2))
        assert "nope.thalweg: there is no such packed file" in told
    assert not (both.folder / "nope.thalweg").exists()


def test_the_doctor_takes_a_packed_file_for_sound_and_names_a_damaged_one(both: CommandLine) -> None:
    assert "a packed file, which is only read" in both("doctor", "--results", "packed/small.thalweg").stdout
    packed = both.folder / "packed" / "small.thalweg"
    packed.write_bytes(packed.read_bytes()[:-100])
    done = both("doctor", "--results", "packed/small.thalweg", code=1)
    assert "damaged" in done.stdout


def test_equal_results_give_equal_bytes_that_other_programs_read_and_check(both: CommandLine) -> None:
    packed = both.folder / "packed" / "small.thalweg"
    first = packed.read_bytes()
    assert first == bytes(pack_of(both.folder / "folder" / "small"))
    both("results", "unpack", "packed/small.thalweg", "--out", "again")
    both("results", "pack", "again/small", "--out", "packed", "--force")
    assert packed.read_bytes() == first
    with zipfile.ZipFile(packed) as other:
        assert other.testzip() is None
        other.extractall(both.folder / "unzipped")
    checked = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    subprocess.run(checked, cwd=both.folder / "unzipped", check=True)


COMMANDS = {
    "leaderboard": ["leaderboard", "small.toml", "--json"],
    "leaderboard by seconds": ["leaderboard", "small.toml", "--metric", "seconds_to_target", "--json"],
    "leaderboard over all": ["leaderboard", "small.toml", "--over-all", "--json"],
    "leaderboard as a table": ["leaderboard", "small.toml"],
    "list": ["results", "list", "--json"],
    "verify": ["results", "verify", "--json"],
    "dry run": ["run", "small.toml", "--keep", "weights", "--dry-run", "--json"],
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_command_tells_of_packed_results_what_it_tells_of_the_folder(both: CommandLine, words: list[str]) -> None:
    (both.folder / "folder").rename(both.folder / "results")
    folder = both(*words, "--results", "results")
    (both.folder / "results").rename(both.folder / "folder")
    (both.folder / "packed").rename(both.folder / "results")
    packed = both(*words, "--results", "results")
    assert (packed.stdout, packed.stderr) == (folder.stdout, folder.stderr)
    (both.folder / "results").rename(both.folder / "packed")
    alone = both(*words, "--results", "packed/small.thalweg")
    assert alone.stdout.replace("packed/small.thalweg", "results") == folder.stdout


def test_packed_results_are_compared_shown_exported_and_reported(both: CommandLine) -> None:
    for optimizer in ("", ":sgd"):
        plain = both.json("compare", f"folder{optimizer}", f"folder{optimizer}")
        for root in ("packed", "packed/small.thalweg"):
            assert both.json("compare", f"folder{optimizer}", f"{root}{optimizer}") == plain
    hash_ = both.json("results", "list", "--results", "packed")["trials"][0]["hash"]
    here, there = (both.json("results", "show", hash_, "--results", root) for root in ("folder", "packed"))
    assert Path(there.pop("path")).parts[:2] == ("packed", "small.thalweg")
    here.pop("path")
    assert there == here
    for root in ("folder", "packed"):
        both("results", "export", f"{root}.csv", "--results", root)
        both("report", "small.toml", "--results", root, "--out", f"{root}.html")
    for kind in ("csv", "html"):
        pages = [(both.folder / f"{root}.{kind}").read_text(encoding="utf-8") for root in ("folder", "packed")]
        assert pages[0] == pages[1]


@pytest.mark.parametrize("root", ["packed", "packed/small.thalweg"])
def test_the_app_shows_packed_results(both: CommandLine, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THALWEG_RESULTS", str(both.folder / root))
    monkeypatch.chdir(both.folder)
    for page in ("leaderboard", "landscape"):
        app = AppTest.from_file(APP_SCRIPT, default_timeout=60)
        app.query_params["source"] = "local"
        app.query_params["benchmark"] = "small"
        app.run()
        assert not app.exception, (page, app.exception)
        assert not app.warning


def test_a_probe_that_was_measured_before_is_read_from_packed_results(both: CommandLine) -> None:
    trials = both.json("results", "list", "--results", "packed")["trials"]
    hash_ = next(trial["hash"] for trial in trials if (trial["optimizer"], trial["seed"]) == ("sgd", 0))
    asked = ("probe", hash_, "line", "--set", "points=5", "--results", "packed")
    document = both.json(*asked)
    assert document["measured_before"]
    assert document["benchmark"] == "small"


def test_a_run_with_nothing_to_train_works_on_packed_results(both: CommandLine) -> None:
    before = (both.folder / "packed" / "small.thalweg").read_bytes()
    done = both.json("run", "small.toml", "--keep", "weights", "--timed", "--results", "packed")
    assert done["trials"] == {"total": 4, "trained": 0, "cached": 4, "diverged": 0, "failed": 0}
    assert (both.folder / "packed" / "small.thalweg").read_bytes() == before
    assert [path.name for path in (both.folder / "packed").iterdir()] == ["small.thalweg"]


WRITING = {
    "run": ["run", "small.toml", "--seeds", "3", "--quiet"],
    "run again": ["run", "small.toml", "--fresh", "--quiet"],
    "compact": ["results", "compact"],
    "delete": ["results", "delete", "HASH", "--yes"],
    "set aside": ["results", "verify", "--set-aside"],
}


@pytest.mark.parametrize("words", WRITING.values(), ids=WRITING)
@pytest.mark.parametrize("root", ["packed", "packed/small.thalweg"])
def test_what_would_write_says_how_to_unpack(both: CommandLine, words: list[str], root: str) -> None:
    packed = both.folder / "packed" / "small.thalweg"
    before = packed.read_bytes()
    hash_ = both.json("results", "list", "--results", root)["trials"][0]["hash"]
    told = one_line(both(*(hash_ if word == "HASH" else word for word in words), "--results", root, code=2))
    assert "packed results are only read" in told
    assert "thalweg results unpack" in told
    assert packed.read_bytes() == before
    assert [path.name for path in packed.parent.iterdir()] == ["small.thalweg"]


def test_a_root_that_is_a_packed_file_takes_no_other_benchmark(both: CommandLine) -> None:
    (both.folder / "other.toml").write_text(BENCHMARK, encoding="utf-8")
    (both.folder / "packed" / "small.thalweg").rename(both.folder / "packed" / "kept.thalweg")
    told = one_line(both("results", "import", "folder", "--results", "packed/kept.thalweg", code=2))
    assert "only read" in told
    for command in ("run", "leaderboard", "report"):
        told = one_line(both(command, "other.toml", "--results", "packed/kept.thalweg", code=2))
        assert "it holds the results of 'kept', and not those of 'other'" in told


def test_trials_are_imported_from_packed_results_and_not_into_them(both: CommandLine) -> None:
    done = both.json("results", "import", "packed", "--results", "new")["benchmarks"]["small"]
    assert len(done["added"]) == 4
    for part in ("trials", "benchmark.toml"):
        here, there = (both.folder / root / "small" / part for root in ("new", "folder"))
        if here.is_dir():
            assert results_of(here) == results_of(there)
        else:
            assert here.read_bytes() == there.read_bytes()
    assert "only read" in one_line(both("results", "import", "folder", "--results", "packed", code=2))


def test_a_folder_and_a_packed_file_of_one_benchmark_are_an_error_that_names_both(both: CommandLine) -> None:
    shutil.copytree(both.folder / "folder" / "small", both.folder / "packed" / "small")
    for words in (["leaderboard", "small.toml"], ["run", "small.toml"], ["results", "verify", "small"]):
        told = one_line(both(*words, "--results", "packed", code=2))
        assert "small and small.thalweg" in told
        assert "move one away" in told
    listed = both("results", "list", "--results", "packed", code=3)
    assert "small and small.thalweg" in listed.stderr
    assert benchmarks_in(both.folder / "packed") == []
    assert len(refused_in(both.folder / "packed")) == 1
    # a root that is the packed file is no question
    both("leaderboard", "small.toml", "--results", "packed/small.thalweg")


def test_packed_and_plain_benchmarks_lie_side_by_side(both: CommandLine) -> None:
    shutil.copy(both.folder / "packed" / "small.thalweg", both.folder / "folder" / "other.thalweg")
    trials = both.json("results", "list", "--results", "folder")["trials"]
    assert [trial["benchmark"] for trial in trials] == ["other"] * 4 + ["small"] * 4
    told = both("results", "pack", "folder", "--out", "out").stdout
    assert [line.partition(":")[0] for line in told.splitlines()] == ["small"]


def test_what_belongs_to_no_result_stays_out_and_is_named(both: CommandLine) -> None:
    there = both.folder / "folder" / "small"
    whole = (both.folder / "packed" / "small.thalweg").read_bytes()
    trial = next((there / "trials").iterdir())
    for name in (".partial/x", ".index/y", "notes.txt", "timings/notes.txt", f"trials/{trial.name}/notes.txt"):
        (there / name).parent.mkdir(exist_ok=True)
        (there / name).write_text("mine", encoding="utf-8")
    done = both("results", "pack", "folder", "--out", "out")
    assert ".working" not in done.stderr  # it has locks alone
    for name in (".partial", ".index", "notes.txt", "timings/notes.txt", f"trials/{trial.name}/notes.txt"):
        assert f"small/{name}: not packed" in done.stderr
    assert (both.folder / "out" / "small.thalweg").read_bytes() == whole


def test_a_damaged_trial_stays_out_and_is_named_with_exit_code_1(both: CommandLine) -> None:
    first, second, *_ = sorted((both.folder / "folder" / "small" / "trials").iterdir())
    (first / "curve.parquet").write_bytes(b"PAR1")
    (second / "trial.json").write_text("{", encoding="utf-8")
    done = both("results", "pack", "folder", "--out", "out", code=1)
    assert f"small/trials/{first.name}: left out: curve.parquet has changed" in done.stderr
    assert f"small/trials/{second.name}: left out" in done.stderr
    assert both.json("results", "verify", "--results", "out")["whole"] == 2


def test_nothing_is_replaced_without_being_asked(both: CommandLine) -> None:
    packed = both.folder / "packed" / "small.thalweg"
    packed.write_bytes(b"mine")
    assert "--force" in one_line(both("results", "pack", "folder", "--out", "packed", code=2))
    assert packed.read_bytes() == b"mine"
    both("results", "pack", "folder", "--out", "packed", "--force")
    assert "another folder" in one_line(both("results", "pack", "folder", "--out", "folder", "--force", code=2))
    assert "another folder" in one_line(both("results", "unpack", "packed/small.thalweg", "--out", "packed", code=2))
    (both.folder / "folder" / "small" / "mine").touch()
    assert "--force" in one_line(both("results", "unpack", "packed/small.thalweg", "--out", "folder", code=2))
    assert (both.folder / "folder" / "small" / "mine").exists()
    both("results", "unpack", "packed/small.thalweg", "--out", "folder", "--force")
    assert not (both.folder / "folder" / "small" / "mine").exists()
    assert sorted(path.name for path in (both.folder / "folder").iterdir()) == ["small"]


def test_there_is_nothing_to_pack_or_unpack(both: CommandLine) -> None:
    (both.folder / "empty").mkdir()
    both("results", "pack", "empty", code=3)
    both("results", "pack", "nowhere", code=3)
    assert "is packed" in one_line(both("results", "pack", "packed/small.thalweg", code=2))
    assert "no such file" in one_line(both("results", "unpack", "nowhere.thalweg", code=2))
    assert "no such file" in one_line(both("results", "unpack", "small.toml", code=2))


def test_a_full_disk_leaves_nothing_half(both: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (both.folder / "packed" / "small.thalweg").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "small.thalweg")

    monkeypatch.setattr(packing, "end_record", full)
    told = one_line(both("results", "pack", "folder", "--out", "packed", "--force", code=2))
    assert "No space left" in told
    assert [path.name for path in (both.folder / "packed").iterdir()] == ["small.thalweg"]
    assert (both.folder / "packed" / "small.thalweg").read_bytes() == before
    monkeypatch.undo()
    monkeypatch.setattr(archive.Archive, "read", full)
    told = one_line(both("results", "unpack", "packed/small.thalweg", "--out", "new", code=2))
    assert "No space left" in told
    assert list((both.folder / "new").iterdir()) == []


KILLED = """
import os, sys
from thalweg.cli import main
from thalweg.store import pack, unpack
def end(*_):
    os.kill(os.getpid(), 9)
pack.end_record = end
unpack.Path.rename = end
sys.argv = ["thalweg", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("words", [["pack", "folder"], ["unpack", "packed/small.thalweg"]], ids=["pack", "unpack"])
def test_a_killed_command_leaves_no_results_that_look_whole(both: CommandLine, words: list[str]) -> None:
    words = ["results", *words, "--out", "out"]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], cwd=both.folder, check=False)
    assert done.returncode == -9
    out = both.folder / "out"
    assert all(path.name.startswith(".") for path in out.iterdir())
    assert (benchmarks_in(out), refused_in(out)) == ([], [])
    both(*words)
    assert benchmarks_in(out) == ["small"]


def test_more_files_than_a_packed_file_holds_are_refused(both: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MOST_FILES", 5)
    assert "at most 4" in one_line(both("results", "pack", "folder", "--out", "out", code=2))
    monkeypatch.setattr(packing, "MOST_FILES", 50)
    monkeypatch.setattr(packing, "MOST_BYTES", 5000)
    assert "at most 5,000 bytes" in one_line(both("results", "pack", "folder", "--out", "out", code=2))
    assert not list((both.folder / "out").iterdir())


def test_names_that_differ_in_case_alone_are_not_packed(both: CommandLine) -> None:
    for name in ("a.parquet", "A.parquet"):
        (both.folder / "folder" / "small" / "timings" / name).touch()
    told = one_line(both("results", "pack", "folder", "--out", "out", code=2))
    assert "where case is ignored" in told
    assert not list((both.folder / "out").iterdir())


def aged(path: Path, seconds: float = 60) -> None:
    about = path.stat()
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns - int(seconds * 1e9)))


def numbers(results: BenchmarkResults) -> dict[str, float]:
    stored = read_stored(results)
    curves = stored.curves()
    return dict(zip(stored.column("hash"), curves.groupby("trial")["value"].sum(), strict=True))


def test_the_index_of_a_packed_file_holds_for_these_bytes_alone(
    both: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a file of equal size and time: a result that was trained to other numbers is read again."""
    monkeypatch.setattr("thalweg.store.index.WORTH", 1)
    packed = both.folder / "packed" / "small.thalweg"
    results = BenchmarkResults(packed.parent, "small")
    first = numbers(results)
    assert read_stored(results).read == 0
    about, old = packed.stat(), packed.read_bytes()
    entries = pack_of(both.folder / "folder" / "small")
    # a curve of the same length: the two of one optimizer change places, and documents name the new digests
    names = [entry.name for entry in entries.entries if entry.name.endswith(b"curve.parquet")]
    by_name = {entry.name: entry for entry in entries.entries}
    one, other = (by_name[name] for name in names[:2])
    one.content, other.content = other.content, one.content
    for entry in (one, other):
        document = by_name[entry.name.replace(b"curve.parquet", b"trial.json")]
        table = json.loads(document.content)
        before = table["files"]["curve.parquet"].encode()
        document.content = document.content.replace(before, hashlib.sha256(entry.content).hexdigest().encode())
    packed.write_bytes(bytes(entries))
    os.utime(packed, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert len(packed.read_bytes()) == len(old)
    second = numbers(results)
    assert read_stored(results).read == 0
    assert second != first
    assert sorted(second.values()) == sorted(first.values())
    packed.write_bytes(old)
    os.utime(packed, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert numbers(results) == first


def test_a_result_that_changed_inside_of_a_packed_file_is_named_and_not_shown(both: CommandLine) -> None:
    packed = both.folder / "packed" / "small.thalweg"
    content = bytearray(packed.read_bytes())
    content[content.index(b"curve.parquet") + 60] ^= 1
    packed.write_bytes(content)
    told = both("leaderboard", "small.toml", "--results", "packed").stderr
    assert "has changed since it was packed" in told
    (fault,) = both.json("results", "verify", "--results", "packed", code=1)["faults"]
    assert fault["path"].endswith("curve.parquet")
    told = one_line(both("results", "unpack", "packed/small.thalweg", "--out", "new", code=2))
    assert "has changed since it was packed" in told
    assert list((both.folder / "new").iterdir()) == []


def test_a_packed_file_may_be_replaced_while_it_is_read(both: CommandLine) -> None:
    results = BenchmarkResults(both.folder / "packed", "small")
    trials, _ = results.scan()
    packed = results.path
    (trial, *_) = trials
    assert len(trial.curve())
    shutil.copy(packed, packed.with_name("new"))
    aged(packed.with_name("new"))
    packed.with_name("new").replace(packed)
    assert len(trial.curve())
    packed.write_bytes(b"gone")
    with pytest.raises(guard.Refused):
        trial.curve()
    assert results.refusal


def test_a_root_may_be_a_link_to_a_packed_file_and_no_packed_file_in_it_may(both: CommandLine) -> None:
    (both.folder / "link").mkdir()
    link = both.folder / "link" / "small.thalweg"
    link.symlink_to(both.folder / "packed" / "small.thalweg")
    assert len(both.json("results", "list", "--results", "link/small.thalweg")["trials"]) == 4
    told = both("results", "list", "--results", "link", code=3).stderr
    assert "is a symbolic link" in told


def test_a_root_that_leads_to_a_file_of_another_name_is_refused_with_the_reason(both: CommandLine) -> None:
    (both.folder / "blob").write_bytes((both.folder / "packed" / "small.thalweg").read_bytes())
    (both.folder / "small.thalweg").symlink_to("blob")
    told = both("results", "list", "--results", "small.thalweg", code=3).stderr
    assert "the name of a packed file ends with .thalweg" in told


def test_a_folder_that_is_not_there_is_told_with_the_one_that_is_meant(both: CommandLine) -> None:
    (both.folder / "results" / "local" / "quick").mkdir(parents=True)
    assert (
        "quick: there is no such folder: did you mean results/local/quick?"
        in both("results", "pack", "quick", code=3).stderr
    )
    assert "results that are trained here are in results/local" in both("results", "pack", "slow", code=3).stderr

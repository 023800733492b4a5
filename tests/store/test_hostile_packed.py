"""Packed files from strangers: false archives are refused in one line, and hostile trials in sound ones are named."""

from __future__ import annotations

import os
import shutil
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import hostile
from packing import Entry, Pack, pack_of
from support import APP_SCRIPT, CommandLine
from thalweg.store.packed_format import MOST_FILES, SUMS

BENCHMARK = """
seeds = 40

[workloads.bowl]
problem = { name = "quadratic", dim = 2 }
architecture = "point"
dtype = "float64"
budget = { steps = 4 }
evaluate_every = { steps = 2 }

[optimizers.sgd]
lr = 0.01
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of forty trials."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "many.toml").write_text(BENCHMARK, encoding="utf-8")
    CommandLine(folder, own_process=False)("run", "many.toml", "--quiet", "--results", "made")
    return folder


@pytest.fixture
def sound(made: Path) -> Pack:
    """Three of the trials, packed."""
    pack = pack_of(made / "made" / "many")
    trials = sorted({entry.name.split(b"/")[1] for entry in pack.entries if entry.name.startswith(b"trials/")})[:3]
    pack.entries = [entry for entry in pack.entries if b"/" not in entry.name or entry.name.split(b"/")[1] in trials]
    return pack


def named(name: bytes) -> Callable[[Pack], object]:
    """A file with that name, in the order of names."""

    def edit(pack: Pack) -> None:
        pack.entries = sorted([*pack.entries, Entry(name, b"mine")], key=lambda entry: entry.name)

    return edit


def put(entry: bytes, number: int, kind: str, value: int) -> bytes:
    """A header with another number at a place."""
    return entry[:number] + struct.pack(kind, value) + entry[number + struct.calcsize(kind) :]


def in_directory(number: int, kind: str, value: int) -> Callable[[Pack], object]:
    """Another number in the directory's entry of the second file."""
    return lambda pack: setattr(pack.entries[1], "central", lambda entry: put(entry, number, kind, value))


def in_header(number: int, kind: str, value: int) -> Callable[[Pack], object]:
    """Another number in the local headers of all files."""

    def edit(pack: Pack) -> None:
        for entry in pack.entries:
            entry.local = lambda header: put(header, number, kind, value)

    return edit


def in_end(number: int, kind: str, value: int) -> Callable[[Pack], object]:
    """Another number in the end record."""
    return lambda pack: setattr(pack, "end", lambda record: put(record, number, kind, value))


def twice(pack: Pack) -> None:
    pack.entries.insert(2, pack.entries[1])


def twice_with_one_digest(pack: Pack) -> None:
    again = Entry(pack.entries[1].name, b"other", listed=False)
    pack.entries.insert(2, again)


def overlapping(pack: Pack) -> None:
    pack.entries[2].offset = 0


def compressed(pack: Pack) -> None:
    """A bomb: a million zeros in a thousand bytes."""
    content = zlib.compress(bytes(1 << 20))[2:-4]
    entry = pack.entries[1]
    entry.content = content
    entry.central = lambda made: put(put(made, 10, "<H", 8), 24, "<I", 1 << 20)
    entry.local = lambda made: put(put(made, 8, "<H", 8), 22, "<I", 1 << 20)


def extra_field(pack: Pack) -> None:
    pack.entries[1].central = lambda made: put(made, 30, "<H", 4) + b"\1\0\0\0"


def zip64(pack: Pack) -> None:
    """Sizes and places that stand in the extra field."""
    pack.entries[1].central = lambda made: (
        put(put(put(made, 20, "<I", 0xFFFFFFFF), 24, "<I", 0xFFFFFFFF), 30, "<H", 20)
        + struct.pack("<HHQQ", 1, 16, 4, 4)
    )


def with_zip64_end(pack: Pack) -> None:
    pack.end = lambda record: b"PK\6\6" + bytes(52) + b"PK\6\7" + bytes(16) + put(record, 10, "<H", 0xFFFF)


def link(pack: Pack) -> None:
    """A symbolic link to a file outside, as Info-ZIP writes it."""
    pack.entries[1].content = b"../../../../outside/secret.txt"
    pack.entries[1].central = lambda made: put(made, 38, "<I", 0o120777 << 16)


def no_digests(pack: Pack) -> None:
    pack.last = [Entry(b"trials/x/trial.json", b"{}")]


def unsorted(pack: Pack) -> None:
    pack.entries[1], pack.entries[2] = pack.entries[2], pack.entries[1]


ARCHIVES: dict[str, Callable[[Pack], object]] = {
    "path outside": named(b"../outside/secret.txt"),
    "path outside of the trial": named(b"trials/../../secret.txt"),
    "absolute path": named(b"/etc/secret"),
    "path of Windows": named(b"trials\\x\\trial.json"),
    "drive": named(b"C:secret.txt"),
    "NUL in a name": named(b"trials/x/a\0b"),
    "line in a name": named(b"trials/x/a\nb"),
    "name that is not text": named(b"trials/x/\xff\xfe"),
    "hidden file": named(b".working/x"),
    "foreign file": named(b"notes.txt"),
    "file too deep": named(b"trials/a/b/c/d/e"),
    "long name": named(b"trials/x/" + b"a" * 300),
    "folder": named(b"trials/x/"),
    "names that differ in case": lambda pack: (named(b"trials/X/trial.json")(pack), named(b"trials/x/a")(pack)),
    "twice": twice,
    "twice with one digest": twice_with_one_digest,
    "unsorted": unsorted,
    "file that is a folder too": lambda pack: (named(b"trials/y/probes")(pack), named(b"trials/y/probes/x")(pack)),
    "link": link,
    "compressed": compressed,
    "compressed method alone": in_directory(10, "<H", 8),
    "encrypted": in_directory(8, "<H", 1),
    "data descriptor": in_directory(8, "<H", 8),
    "UTF-8 flag": in_directory(8, "<H", 1 << 11),
    "time": in_directory(12, "<I", 0x21_0001),
    "larger size": in_directory(24, "<I", 1 << 30),
    "both sizes larger": in_directory(20, "<Q", (1 << 30) << 32 | 1 << 30),
    "size of four gigabytes": in_directory(20, "<Q", (1 << 64) - 1),
    "offset behind the end": in_directory(42, "<I", 0xFFFFFFF0),
    "another disk": in_directory(34, "<H", 1),
    "length of the name": in_directory(28, "<H", 0xFFFF),
    "overlapping": overlapping,
    "extra field": extra_field,
    "comment of a file": lambda pack: setattr(pack.entries[1], "central", lambda made: put(made, 32, "<H", 2) + b"hi"),
    "ZIP64": zip64,
    "end of ZIP64": with_zip64_end,
    "count of files": in_end(8, "<I", 0x0002_0002),
    "as many files as there may be": in_end(8, "<I", 0xFFFF_FFFF),
    "no files": in_end(8, "<I", 0),
    "size of the directory": in_end(12, "<I", 0xFFFFFFFF),
    "small directory": in_end(12, "<I", 3),
    "offset of the directory": in_end(16, "<I", 0xFFFFFFFF),
    "several disks": in_end(4, "<H", 1),
    "comment": lambda pack: setattr(pack, "end", lambda record: put(record, 20, "<H", 2) + b"hi"),
    "trailing data": lambda pack: setattr(pack, "behind", b"#!/bin/sh\n"),
    "leading data": lambda pack: setattr(pack, "before", b"#!/bin/sh\n"),
    "second archive behind": lambda pack: setattr(pack, "behind", bytes(Pack(list(pack.entries[:1])))),
    "no digests": no_digests,
    "digests of fewer files": lambda pack: setattr(pack, "sums", lambda text: text.partition(b"\n")[2]),
    "digests that are none": lambda pack: setattr(pack, "sums", lambda text: b"z" * 64 + text[64:]),
    "digests without an end": lambda pack: setattr(pack, "sums", lambda text: text[:-1]),
    "digests of others": lambda pack: setattr(pack, "sums", lambda text: text.replace(b"trials/", b"trialz/")),
    "no members": lambda pack: pack.entries.clear() or setattr(pack, "sums", lambda text: b"x"),  # type: ignore[func-returns-value]
}
"""Archives that are refused as a whole, by what is wrong with them."""

THEIRS = ("--results", "theirs")
COMMANDS = (
    ["results", "list", *THEIRS],
    ["results", "verify", *THEIRS],
    ["leaderboard", "many.toml", *THEIRS],
    ["compare", "theirs", "theirs"],
    ["results", "import", "theirs"],
    ["results", "unpack", "theirs/many.thalweg", "--out", "new"],
    ["results", "list", "--results", "theirs/many.thalweg"],
    ["run", "many.toml", "--quiet", *THEIRS],
)


class Place:
    """A folder with a stranger's packed file, and something to lose beside it."""

    def __init__(self, cli: CommandLine) -> None:
        self.cli = cli
        (cli.folder / "many.toml").write_text(BENCHMARK, encoding="utf-8")
        self.outside = hostile.outside_of(cli.folder)
        self.packed = cli.folder / "theirs" / "many.thalweg"
        self.packed.parent.mkdir()

    def refused(self) -> None:
        """Each command names the file in one line and goes no further, and nothing is written."""
        before = hostile.tree(self.cli.folder)
        for words in COMMANDS:
            begun = time.monotonic()
            done = self.cli.anyhow(*words)
            assert "Traceback" not in done.stderr, (words, done.stderr)
            assert done.returncode in (1, 2, 3), (words, done)
            assert time.monotonic() - begun < 10, words
            told = done.stderr.splitlines() + done.stdout.splitlines()
            assert 1 <= len(told) <= 2, (words, told)
            if words[0] != "compare":
                # 'unpack' follows a link that it is given
                assert any("many.thalweg" in line or "secret.txt" in line for line in told), (words, told)
        shutil.rmtree(self.cli.folder / "new", ignore_errors=True)
        after = hostile.tree(self.cli.folder)
        assert after == before


@pytest.fixture
def place(cli: CommandLine) -> Place:
    return Place(cli)


@pytest.mark.parametrize("edit", ARCHIVES.values(), ids=ARCHIVES)
def test_an_archive_that_is_none_of_ours_is_refused_in_one_line(place: Place, sound: Pack, edit: object) -> None:
    assert callable(edit)
    edit(sound)
    place.packed.write_bytes(bytes(sound))
    place.refused()


def zipped(sound: Pack, compression: int = zipfile.ZIP_STORED) -> bytes:
    """What another program makes of the files."""
    made = BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for entry in sound.entries:
            archive.writestr(entry.name.decode(), entry.content)
    return made.getvalue()


FILES: dict[str, Callable[[Path, Pack], object]] = {
    "empty": lambda path, pack: path.touch(),
    "text": lambda path, pack: path.write_text("hello" * 100, encoding="utf-8"),
    "zeros": lambda path, pack: path.write_bytes(bytes(1000)),
    "of another program": lambda path, pack: path.write_bytes(zipped(pack)),
    "of another program and compressed": lambda path, pack: path.write_bytes(zipped(pack, zipfile.ZIP_DEFLATED)),
    "cut off": lambda path, pack: path.write_bytes(bytes(pack)[:-1000]),
    "end alone": lambda path, pack: path.write_bytes(bytes(pack)[-22:]),
    "endless": lambda path, pack: hostile._sized(path, 1 << 40),
    "four gigabytes of nothing": lambda path, pack: hostile._sized(path, (1 << 32) - 10),
    "pipe": lambda path, pack: os.mkfifo(path),
    "link to a device": lambda path, pack: path.symlink_to("/dev/zero"),
    "link to a file": lambda path, pack: path.symlink_to(path.parents[1] / "outside" / "secret.txt"),
    "link to nothing": lambda path, pack: path.symlink_to("nowhere"),
}
"""Things that have the name of a packed file but are none."""


@pytest.mark.parametrize("make", FILES.values(), ids=FILES)
def test_a_file_that_is_no_packed_file_is_refused_in_one_line(place: Place, sound: Pack, make: object) -> None:
    assert callable(make)
    make(place.packed, sound)
    place.refused()


HEADERS = {
    "another size": in_header(18, "<I", 5),
    "compressed": in_header(8, "<H", 8),
    "encrypted": in_header(6, "<H", 1),
    "no header": in_header(0, "<I", 0),
    "another CRC": in_header(14, "<I", 5),
}


@pytest.mark.parametrize("edit", HEADERS.values(), ids=HEADERS)
def test_local_headers_that_contradict_the_directory_are_named_for_each_trial(
    place: Place, sound: Pack, edit: Callable[[Pack], object]
) -> None:
    edit(sound)
    place.packed.write_bytes(bytes(sound))
    found = place.cli.json("results", "verify", *THEIRS, code=1)
    assert found["whole"] == 0
    assert len(found["faults"]) == 4  # three trials, and the benchmark's file
    assert "another header" in place.cli("results", "unpack", "theirs/many.thalweg", code=2).stderr
    assert not list((place.cli.folder / "results" / "local").iterdir())


def test_a_name_may_have_another_case_in_no_header(place: Place, sound: Pack) -> None:
    for entry in sound.entries:
        entry.local = bytes.upper
    place.packed.write_bytes(bytes(sound))
    assert place.cli.json("results", "verify", *THEIRS, code=1)["whole"] == 0


def test_content_that_has_another_digest_is_named(place: Place, sound: Pack) -> None:
    for entry in sound.entries:
        entry.digest = "0" * 64
    place.packed.write_bytes(bytes(sound))
    found = place.cli.json("results", "verify", *THEIRS, code=1)
    assert found["whole"] == 0
    assert all("digest" in fault["reason"] for fault in found["faults"])


def test_a_digest_that_a_packed_file_and_its_trial_tell_differently_is_named(place: Place, sound: Pack) -> None:
    """The trial's document has the last word, as in a folder."""
    curves = [entry for entry in sound.entries if entry.name.endswith(b"curve.parquet")]
    curves[0].content = curves[1].content + b"x"
    place.packed.write_bytes(bytes(sound))
    (fault,) = place.cli.json("results", "verify", *THEIRS, code=1)["faults"]
    assert "has changed since it was written" in fault["reason"]


@pytest.mark.parametrize("name", [".thalweg", "-x.thalweg", "a b.thalweg", "x" * 120 + ".thalweg", "\x1b[2J.thalweg"])
def test_a_packed_file_has_the_name_of_a_benchmark(place: Place, sound: Pack, name: str) -> None:
    (place.packed.parent / name).write_bytes(bytes(sound))
    listed = place.cli("results", "list", *THEIRS, code=3)
    if name != ".thalweg":
        assert "cannot be read" in listed.stderr
    assert "\x1b" not in listed.stderr
    done = place.cli.anyhow("results", "unpack", f"theirs/{name}")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


def test_hostile_trials_in_a_packed_file_are_named_and_the_sound_are_shown(
    place: Place, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place.cli.folder / "scratch"
    shutil.copytree(made / "made" / "many", folder)
    trials = sorted((folder / "trials").iterdir())
    bad = dict(zip(hostile.TRIALS, trials[5:], strict=False))
    for path in trials[5 + len(bad) :]:
        shutil.rmtree(path)
    for name, path in bad.items():
        hostile.TRIALS[name](path, place.outside)
        if name in ("document without end", "curve without end"):
            # a packed file has no room for them
            shutil.rmtree(path)
    place.packed.write_bytes(bytes(pack_of(folder)))
    shutil.rmtree(folder)
    before = hostile.tree(place.cli.folder)
    # links and pipes are not packed: what is left of such a trial is sound, or lacks a file
    shown = hostile.SHOWN | {"trial is a link"}
    listed = place.cli.json("results", "list", *THEIRS)
    hashes = {trial["hash"] for trial in listed["trials"]}
    assert {path.name.rpartition("--")[2] for path in trials[:5]} <= hashes
    unread = {Path(path).name for path in listed["unreadable"]}
    for name, path in bad.items():
        if name not in shown and not name.endswith("without end"):
            assert path.name in unread, name
    for words in (["results", "verify"], ["leaderboard", "many.toml"], ["results", "export", "all.csv"]):
        done = place.cli.anyhow(*words, *THEIRS)
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 1)
    (place.cli.folder / "all.csv").unlink()
    monkeypatch.setenv("THALWEG_RESULTS", str(place.packed.parent))
    monkeypatch.chdir(place.cli.folder)
    app = AppTest.from_file(APP_SCRIPT, default_timeout=120)
    app.query_params["source"] = "local"
    app.query_params["benchmark"] = "many"
    app.run()
    assert not app.exception, app.exception
    warned = " ".join(item.value for item in app.warning)
    assert all(name in warned for name in unread)
    assert hostile.tree(place.cli.folder) == before


def test_unpacking_follows_no_link_and_writes_in_its_folder_alone(place: Place, sound: Pack) -> None:
    place.packed.write_bytes(bytes(sound))
    (place.cli.folder / "new").mkdir()
    (place.cli.folder / "new" / "many").symlink_to(place.outside, target_is_directory=True)
    before = hostile.tree(place.outside)
    place.cli("results", "unpack", "theirs/many.thalweg", "--out", "new", code=2)
    assert hostile.tree(place.outside) == before
    place.cli("results", "unpack", "theirs/many.thalweg", "--out", "new", "--force")
    assert hostile.tree(place.outside) == before
    assert not (place.cli.folder / "new" / "many").is_symlink()
    assert len(list((place.cli.folder / "new" / "many" / "trials").iterdir())) == 3


def test_packing_replaces_a_link_and_writes_through_none(place: Place, made: Path) -> None:
    place.packed.symlink_to(place.outside / "secret.txt")
    before = hostile.tree(place.outside)
    place.cli("results", "pack", str(made / "made"), "--out", "theirs", code=2)
    place.cli("results", "pack", str(made / "made"), "--out", "theirs", "--force")
    assert hostile.tree(place.outside) == before
    assert not place.packed.is_symlink()


def test_a_directory_of_many_files_is_read_in_seconds(place: Place) -> None:
    names = sorted(f"trials/t{number // 2}/{'ab'[number % 2]}".encode() for number in range(MOST_FILES - 1))
    place.packed.write_bytes(bytes(Pack([Entry(name, b"") for name in names])))
    begun = time.monotonic()
    place.cli("results", "list", *THEIRS, code=3)
    assert time.monotonic() - begun < 20
    assert SUMS.encode() in place.packed.read_bytes()

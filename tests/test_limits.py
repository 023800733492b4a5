"""Absurd sizes cost one line: counted before anything is made, within little memory, wherever they are written."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import thalweg
import thalweg.training.extent
from support import TINY, CommandLine, results
from thalweg import Shape
from thalweg.contracts.option import resolve
from thalweg.errors import LONGEST, UserError
from thalweg.limits import BYTES, LIMITS, MODULES, PARAMETERS, TRIALS, TooMuch
from thalweg.present.loaded import read_loaded
from thalweg.registry import Registry
from thalweg.testing.probes import _context
from thalweg.testing.small import Workbench
from thalweg.training.extent import check_extent

resource = pytest.importorskip("resource")

DOCS = Path(__file__).resolve().parents[1] / "docs" / "limits.md"

BASE = """
seeds = 2
[workloads.w]
problem = "digits"
architecture = { name = "mlp", widths = [8] }
budget = { epochs = 1 }
[optimizers.sgd]
lr = 0.01
"""
MLP = '{ name = "mlp", widths = [8] }'
IMAGE = ('"digits"', '{ name = "digits", layout = "image" }')


def changed(*pairs: tuple[str, str], more: str = "") -> str:
    text = BASE
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text + more


def function(problem: str) -> str:
    return changed(('"digits"', problem), (MLP, '"point"'), ("epochs", "steps"))


def error(cli: CommandLine, text: str, *words: str, **options: Any) -> str:
    """The one line, of bounded length, in which a benchmark is refused; nothing was trained or written."""
    (cli.folder / "b.toml").write_text(text, encoding="utf-8")
    done = cli("run", "b.toml", *words, code=2, **options)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert len(line) < LONGEST + 100
    assert not (cli.folder / "results").exists()
    return line


def little(gigabytes: float) -> Any:
    """Before a child begins: an address space in which what it refuses has no place."""
    size = int(gigabytes * 2**30)
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size))


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        (changed(("seeds = 2", "seeds = 10_000_000")), [], "10,000,000 trials are more than the limit of 1,000,000"),
        (BASE, ["--seeds", "1000000000000000000000"], "1,000,000,000,000,000,000,000 trials are more than"),
        (changed(more="[tuning]\nbudgets = [1_000_000_000]"), [], "1,666,666,668 trials are more than the limit"),
        (changed(more="[tuning]\nbudgets = [8]\nseeds = 1_000_000_000"), [], "14,000,000,000 trials are more than"),
        (changed(more="[tuning]\nbudgets = [8]\ndecades = 5e-324"), [], "THALWEG_MAX_TRIALS raises the limit"),
        (changed(more='[tuning]\nmethod = "grid"\nbudgets = [1_000_000_000]'), [], "trials are more than the limit"),
        (function('{ name = "rosenbrock", dim = 1_000_000_000 }'), [], "16,000,000,000 bytes are more than"),
        (function('{ name = "quadratic", dim = 1_000_000 }'), [], "24,000,000,000,000 bytes are more than"),
        (changed(more="[probes.surface]\nresolution = 100_001"), [], "10,000,200,001 points are more than"),
        (changed(more="[probes.line]\npoints = 1_000_000_000"), [], "1,000,000,000 points are more than"),
    ],
)
def test_a_size_is_refused_in_one_line_and_little_memory(
    process_cli: CommandLine, text: str, words: list[str], says: str
) -> None:
    assert says in error(process_cli, text, *words, preexec_fn=little(2))


def test_many_pairs_are_refused_before_any_is_looked_at(cli: CommandLine) -> None:
    workloads = "".join(f'[workloads.w{i}]\nproblem = "nothing"\narchitecture = "mlp"\n' for i in range(300))
    optimizers = "".join(f"[optimizers.o{i}]\n" for i in range(200))
    assert "300 workloads x 200 optimizers: 60,000 pairs are more than the limit of 50,000" in error(
        cli, workloads + optimizers
    )


def test_of_many_seeds_a_few_are_run(process_cli: CommandLine) -> None:
    (process_cli.folder / "b.toml").write_text(changed(("seeds = 2", "seeds = 10_000_000")), encoding="utf-8")
    words = ["run", "b.toml", "--only", "seed=7,9999999", "--dry-run", "--no-batching", "--device", "cpu"]
    found = process_cli.json(*words, preexec_fn=little(10))
    assert [trial["seed"] for trial in found["trials"]] == [7, 9_999_999]
    assert "nothing is left" in error(process_cli, BASE, "--only", "seed=2")


def test_a_limit_is_raised_and_lowered_by_its_variable(cli: CommandLine) -> None:
    cli.environment["THALWEG_MAX_TRIALS"] = "3"
    text = changed(("seeds = 2", "seeds = 4"))
    assert error(cli, text).endswith("4 trials are more than the limit of 3: THALWEG_MAX_TRIALS=4 allows it")
    cli.environment["THALWEG_MAX_TRIALS"] = "4"
    assert len(cli.json("run", "b.toml", "--dry-run")["trials"]) == 4
    for wrong in ("0", "-1", "many", "1e9", "9" * 5000):
        cli.environment["THALWEG_MAX_TRIALS"] = wrong
        assert "THALWEG_MAX_TRIALS = " in error(cli, text)
    cli.environment.pop("THALWEG_MAX_TRIALS")
    for limit in (PARAMETERS, MODULES, BYTES):
        cli.environment[limit.variable] = "many"
        assert f"{limit.variable} = 'many': give a whole number" in error(cli, text)
        cli.environment.pop(limit.variable)


def test_the_documentation_has_every_limit() -> None:
    rows = re.findall(
        r"^\| `(THALWEG_MAX_\w+)` \| ([\d,]+) \| (.+) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert rows == [(limit.variable, f"{limit.default:,}", limit.what) for limit in LIMITS]


WIDE = [
    changed((MLP, '{ name = "mlp", widths = [1000000, 1000000] }')),
    changed((MLP, '{ name = "mlp", widths = [1000000, 1000000], init = "orthogonal" }')),
    changed((MLP, '{ name = "mlp", widths = [9000000000000000000, 9000000000000000000] }')),
    changed((MLP, '{ name = "vit", dim = 1_000_000 }'), IMAGE),
]


@pytest.mark.parametrize(
    ("text", "words"), [*((text, []) for text in WIDE), (WIDE[0], ["--dry-run"]), (WIDE[0], ["--no-batching"])]
)
def test_a_network_is_counted_before_it_is_made(cli: CommandLine, text: str, words: list[str]) -> None:
    """No machine has the terabytes of these weights, so that making them would fail in another way."""
    told = error(cli, text, *words)
    assert "more than the limit of 1,000,000,000 parameters: THALWEG_MAX_PARAMETERS raises it" in told


@pytest.mark.parametrize(
    "pairs",
    [
        [(MLP, f'{{ name = "mlp", widths = [{"4, " * 100_000}] }}')],
        [(MLP, '{ name = "deep-mlp", depth = 1_000_000 }')],
        [(MLP, '{ name = "deep-linear", depth = 1_000_000 }')],
        [(MLP, f'{{ name = "maxout-mlp", widths = [{"4, " * 100_000}] }}')],
        [(MLP, '{ name = "resnet", depth = 1_000_004 }'), IMAGE],
        [(MLP, '{ name = "wide-resnet", depth = 1_000_000 }'), IMAGE],
        [(MLP, '{ name = "vit", depth = 1_000_000 }'), IMAGE],
        [(MLP, '{ name = "char-transformer", depth = 1_000_000 }'), ('"digits"', '"tiny-text"')],
    ],
)
def test_a_deep_network_is_not_built_to_its_end(cli: CommandLine, pairs: list[tuple[str, str]]) -> None:
    cli.environment["THALWEG_MAX_MODULES"] = "200"
    told = error(cli, changed(*pairs), "--no-batching")
    assert "more than the limit of 200 modules: THALWEG_MAX_MODULES raises it" in told


class Built(thalweg.Architecture):
    """A stack of layers, made by a function."""

    name, summary = "built", "for tests"

    def __init__(self, make: Any) -> None:
        self.make = make

    def build(self, options: Any, shape: Shape) -> nn.Module:
        module: nn.Module = self.make()
        return module


VECTORS = Shape("classification", (64,), (10,))


def extent(make: Any) -> int | None:
    return check_extent(Built(make), {}, VECTORS, "w")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Networks are counted in this process, so that a test sees what they do."""
    monkeypatch.setattr(thalweg.training.extent, "apart", lambda ask: ask())
    return monkeypatch


def test_counting_leaves_nothing_behind() -> None:
    """A plugin may keep modules that it made, draw random numbers, or end the process."""
    kept: list[torch.Tensor] = []

    def keeps() -> nn.Module:
        kept.append(torch.arange(4))
        torch.rand(1)
        return nn.Linear(3, 2)

    before = torch.get_rng_state()
    assert extent(keeps) == 8
    assert kept == []
    assert torch.equal(torch.get_rng_state(), before)
    assert extent(lambda: os._exit(3)) is None


def test_building_ends_at_the_limit_whatever_a_plugin_catches(here: pytest.MonkeyPatch) -> None:
    here.setenv(MODULES.variable, "50")
    made = 0

    def endless() -> nn.Module:
        nonlocal made
        layers = []
        while made < 10_000:
            made += 1
            with contextlib.suppress(Exception):  # as a plugin may
                layers.append(nn.Linear(2, 2))
        return nn.Sequential(*layers)

    with pytest.raises(TooMuch, match="w: architecture 'built': more than the limit of 50 modules"):
        extent(endless)
    # two parameters a layer
    assert made == 26


def test_a_network_that_needs_content_is_built_with_it_and_counted(here: pytest.MonkeyPatch) -> None:
    seen = []

    def looks() -> nn.Module:
        layer = nn.Linear(8, 4)
        seen.append(float(layer.weight.detach().sum()))
        return layer

    assert extent(looks) == 36
    assert len(seen) == 1
    here.setenv(PARAMETERS.variable, "35")
    with pytest.raises(TooMuch, match="more than the limit of 35 parameters"):
        extent(looks)


def test_a_plugin_that_cannot_build_is_its_trials_matter() -> None:
    def broken() -> nn.Module:
        raise RuntimeError("not today")

    assert extent(broken) is None


def test_tied_and_lazy_parameters_are_counted_once() -> None:
    def tied() -> nn.Module:
        one, other = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        other.weight = one.weight
        return nn.Sequential(one, other, nn.LazyLinear(3))

    assert extent(tied) == 16


@pytest.mark.parametrize(
    "name",
    ["mlp", "deep-mlp", "deep-linear", "maxout-mlp", "linear", "resnet", "wide-resnet", "vit", "char-transformer"],
)
def test_the_count_is_that_of_the_built_network(registry: Registry, name: str) -> None:
    architecture = registry.architecture(name)
    options = resolve(architecture.options, {}, name)
    shape = VECTORS
    if name in ("resnet", "wide-resnet", "vit"):
        shape = Shape("classification", (1, 8, 8), (10,))
    if name == "char-transformer":
        shape = Shape("language", (16,), (16, 20))
    before = torch.get_rng_state()
    found = check_extent(architecture, options, shape, "w")
    assert torch.equal(torch.get_rng_state(), before)
    assert found == sum(p.numel() for p in architecture.build(options, shape).parameters())


def test_nothing_left_to_do_is_not_built(cli: CommandLine) -> None:
    (cli.folder / "b.toml").write_text(TINY, encoding="utf-8")
    cli("run", "b.toml")
    cli.environment["THALWEG_MAX_PARAMETERS"] = "1"
    cli("run", "b.toml")
    assert "more than the limit of 1 parameters" in cli("run", "b.toml", "--fresh", code=2).stderr


SIZES = {
    "surface": "resolution = 100_001",
    "line": "points = 100_000_000",
    "spectrum": "iterations = 100_000_000",
    "directions": "points = 100_000_001",
    "gradient-flow": "tangents = 100_000_000",
    "noise-scale": "draws = 100_000_000",
    "sharpness": "steps = 100_000_000",
    "smoothness": "count = 100_000_000",
    "edge-of-stability": "iterations = 100_000_000",
    "critical-sharpness": "passes = 100_000_000",
}


@pytest.mark.parametrize(("probe", "setting"), [*SIZES.items(), ("surface", "draws = 100_000_000")])
def test_a_measurement_is_counted_before_training(cli: CommandLine, probe: str, setting: str) -> None:
    told = error(cli, changed(more=f"[probes.{probe}]\n{setting}"))
    assert f"b.toml: probes.{probe}: probe '{probe}': " in told
    assert "points are more than the limit of 5,000,000: THALWEG_MAX_POINTS=" in told


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("surface", lambda table: (table["kind"] == "grid").sum()),
        ("line", lambda table: (table["metric"] == "loss").sum()),
        ("mode-connectivity", len),
        ("directions", lambda table: (table["depth"] == 0).sum()),
    ],
)
def test_the_points_of_a_probe_are_those_of_its_table(registry: Registry, name: str, counted: Any) -> None:
    probe = registry.probe(name)
    context = _context(registry, name, Workbench(registry, "sgd"))
    assert counted(probe.measure(context)) == probe.points(context.options)


def test_the_vectors_of_a_probe_are_counted_with_the_network(cli: CommandLine) -> None:
    # 8 * 64 + 8 + 80 + 10 = 610 parameters; at most as many vectors, of four bytes each
    cli.environment["THALWEG_MAX_PROBE_BYTES"] = str(4 * 610 * 210 - 1)
    told = error(cli, changed(more="[probes.spectrum]\n"), "--no-batching")
    assert f"w: probe 'spectrum': {4 * 610 * 210:,} probe bytes are more than" in told


def test_a_probe_on_a_saved_trial_is_counted_too(cli: CommandLine) -> None:
    (cli.folder / "b.toml").write_text(TINY, encoding="utf-8")
    cli("run", "b.toml", "--keep", "weights", "--only", "optimizer=sgd")
    (trial,) = cli.json("results", "list")["trials"]
    done = cli("probe", trial["hash"], "line", "--set", "points=1000000000", code=2)
    assert "1,000,000,000 points are more than the limit" in done.stderr
    cli.environment["THALWEG_MAX_PROBE_BYTES"] = "63"
    # four weights, and a basis of no more than four vectors
    told = "bowl: probe 'spectrum': 64 probe bytes are more than the limit of 63"
    assert told in cli("probe", trial["hash"], "spectrum", code=2).stderr


LONG, LONGER = "x" * 3_000_000, "y" * 5000


@pytest.mark.parametrize(
    "text",
    [
        changed(("seeds = 2", f'seeds = "{LONG}"')),
        changed(("seeds = 2", f"seeds = 2\n{LONG} = 1")),
        changed(('"digits"', f'"{LONG}"')),
        changed((MLP, f'{{ name = "mlp", widths = "{LONG}" }}')),
        changed((MLP, f'{{ name = "mlp", {LONG} = 1 }}')),
        changed((MLP, f'{{ name = "mlp", activation = "{LONG}" }}')),
        changed((MLP, '{ name = "mlp", activation = 0x1' + "0" * 5000 + " }")),
        changed(("lr = 0.01", f'lr = "{LONG}"')),
        changed(("lr = 0.01", f"{LONG} = 1")),
        changed(more=f"[optimizers.{LONG}]"),
        changed(more=f"[overrides.{LONG}.sgd]"),
        changed(("budget", f'metric = "{LONG}"\nbudget')),
        changed(("budget", f'schedule = "{LONG}"\nbudget')),
        changed(("budget", f"schedule = {{ name = 'step', at = [{'0.5, ' * 100_000}] }}\nbudget")),
        changed((MLP, f'{{ name = "mlp", widths = [{"0.5, " * 100_000}] }}')),
        changed(('"digits"', f'{{ name = "arrays", file = "{LONG}" }}')),
        changed(more="x = " + "[" * 5000),
        changed(("seeds = 2", "seeds = 1" + "0" * 5000)),
        changed(("seeds = 2", "seeds = 0x1" + "0" * 5000)),
        changed(("lr = 0.01", "lr = 0x1" + "0" * 5000)),
        changed(("[8]", "[0x1" + "0" * 5000 + "]")),
        changed(("[8]", "[1" + "0" * 4000 + "]")),
        changed(("epochs = 1", "epochs = 1" + "0" * 4000)),
        changed(more="[tuning]\nhyperparameters = { sgd = [" + "'lr', " * 100_000 + "] }"),
        changed(more=f'[tuning]\nhyperparameters = {{ sgd = ["{LONG}"] }}'),
    ],
)
def test_a_long_value_is_told_by_its_beginning(cli: CommandLine, text: str) -> None:
    told = error(cli, text)
    assert len(told) < 1500
    assert "x" * 301 not in told


def test_a_file_larger_than_a_benchmark_is_not_parsed(process_cli: CommandLine) -> None:
    text = BASE + "# " + "x" * 100_000_000
    assert "has 100,000,143 bytes, more than the 4,194,304 that are read" in error(
        process_cli, text, preexec_fn=little(2)
    )


@pytest.mark.parametrize("option", ["--with", "--only"])
def test_a_long_option_is_told_by_its_beginning(cli: CommandLine, option: str) -> None:
    for text in (f"optimizer=sgd:lr={LONG}", f"optimizer={LONG}", LONG, f"optimizer=sgd:x=[{'1,' * 40_000}]"):
        assert len(error(cli, BASE, option, text)) < 1500


@pytest.mark.parametrize(
    "words",
    [
        ["run", LONGER],
        ["run", f"{LONGER}.toml"],
        ["run", "b.toml", "--plugin", f"{LONGER}.py"],
        ["run", "b.toml", "--results", LONGER],
        ["run", "b.toml", "-j", LONGER],
        ["run", "b.toml", "--memory", "inf"],
        ["compare", LONGER, LONGER],
        ["compare", ".", ".", "--margin", LONGER],
        ["results", "list", "--results", LONGER],
        ["results", "import", LONGER],
        ["report", "b.toml", "--out", f"{LONGER}.html"],
        ["doctor", "--results", LONGER],
    ],
)
def test_a_long_argument_is_told_by_its_beginning(cli: CommandLine, words: list[str]) -> None:
    (cli.folder / "b.toml").write_text(BASE, encoding="utf-8")
    (line,) = cli(*words, code=2).stderr.splitlines()
    assert line.startswith("error: ")
    assert len(line) < 1000


def test_a_hundred_of_choices_are_not_all_listed() -> None:
    from thalweg.errors import unknown

    told = unknown("optimizer", "name-77", [f"name-{i}" for i in range(1000)])
    assert told.startswith("no optimizer 'name-77'; did you mean 'name-77'? There are: name-77, ")
    assert told.endswith(" and 964 more")


def npz(path: Path, arrays: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)


def npy(shape: str, dtype: str = "<f8", content: bytes = b"") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + content


def small_npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


LABELS = small_npy(np.arange(10) % 2)
ARRAYS = changed(('"digits"', '{ name = "arrays", file = "x.npz" }'))
TWO = changed(('"digits"', '{ name = "arrays", inputs = "x.npy", targets = "y.npy" }'))


def test_an_array_is_not_unpacked_beyond_the_limit(process_cli: CommandLine) -> None:
    """Two gigabytes of zeros in two megabytes, and a file of six of which none is on the disk."""
    process_cli.environment["THALWEG_MAX_BYTES"] = "1000000000"
    path = process_cli.folder / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("x_train.npy", "w", force_zip64=True) as file:
            file.write(npy("(10, 26250000)"))
            for _ in range(210):
                file.write(bytes(10_000_000))
        archive.writestr("y_train.npy", LABELS)
    assert path.stat().st_size < 20_000_000
    assert "x.npz: 2,100,000,080 bytes are more than" in error(process_cli, ARRAYS, preexec_fn=little(2))
    process_cli.environment.pop("THALWEG_MAX_BYTES")
    with (process_cli.folder / "x.npy").open("wb") as sparse:
        sparse.write(npy("(10, 75000000)"))
        sparse.truncate(6_000_001_000)
    (process_cli.folder / "y.npy").write_bytes(LABELS)
    told = error(process_cli, TWO, preexec_fn=little(2))
    assert "x.npy and y.npy: 6,000,000,080 bytes are more than the limit of 4,000,000,000" in told


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (npy("(10, 1000000000000)"), "but the file has only 0 bytes: it is broken"),
        (npy("(10, 4)", content=bytes(319)), "but the file has only 319 bytes: it is broken"),
        (npy("(10, -4)"), "has shape (10, -4): the first dimension counts examples"),
        (npy("(10, 0x1" + "0" * 5000 + ")"), "it is broken"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b" " * 200_000, "is no .npy file, or is broken"),
        (npy("(10, 4)", "|O"), "holds object"),
    ],
)
def test_headers_that_lie_are_told(cli: CommandLine, content: bytes, says: str) -> None:
    npz(cli.folder / "x.npz", {"x_train": content, "y_train": LABELS})
    assert says in error(cli, ARRAYS)
    (cli.folder / "x.npy").write_bytes(content)
    (cli.folder / "y.npy").write_bytes(LABELS)
    assert says in error(cli, TWO)


def test_a_member_that_unpacks_beyond_its_declared_size_is_told(cli: CommandLine) -> None:
    path = cli.folder / "x.npz"
    inputs = small_npy(np.zeros((10, 1000)))
    npz(path, {"x_train": inputs, "y_train": LABELS})
    # both of the archive's headers say that it is an array of (10, 4)
    claimed = npy("(10, 4)", content=bytes(320))
    whole = path.read_bytes().replace(struct.pack("<I", len(inputs)), struct.pack("<I", len(claimed)))
    path.write_bytes(whole)
    assert "x.npz: is no .npz file, or is broken: Bad CRC-32" in error(cli, ARRAYS)


def test_the_bytes_of_examples_are_an_estimate_of_what_is_loaded(registry: Registry) -> None:
    digits = registry.problem("digits")
    # 1797 images of 64 numbers and a class, four bytes each
    assert digits.memory(resolve(digits.options, {}, "digits")) == 4 * 1797 * 65
    assert BYTES.value == BYTES.default
    assert TRIALS.value >= 100_000


@pytest.fixture
def strange(cli: CommandLine) -> CommandLine:
    """Two folders of results, of which one has a benchmark with ten million seeds."""
    for name in ("good", "bad"):
        (cli.folder / f"{name}.toml").write_text(TINY, encoding="utf-8")
        cli("run", f"{name}.toml")
    path = cli.folder / "results" / "local" / "bad" / "benchmark.toml"
    path.write_text(TINY.replace("seeds = 1", "seeds = 10_000_000"), encoding="utf-8")
    (cli.folder / "bad.toml").write_bytes(path.read_bytes())
    return cli


def test_reading_a_strange_benchmark_costs_one_line(strange: CommandLine) -> None:
    for words in (
        ["leaderboard", "bad.toml"],
        ["leaderboard", "bad.toml", "--over-all"],
        ["compare", "results/local/bad", "results/local/good"],
        ["compare", "results/local/good", "results/local/bad"],
    ):
        done = strange(*words, code=2)
        (line,) = done.stderr.splitlines()
        assert "20,000,000 trials are more than the limit of 1,000,000" in line
    assert len(strange.json("leaderboard", "good.toml")["rows"]) == 2
    assert len(strange.json("results", "list")["trials"]) == 4


def test_reading_what_tuning_found_costs_one_line_too(cli: CommandLine) -> None:
    (cli.folder / "b.toml").write_text(TINY + "[tuning]\nbudgets = [1_000_000_000]\n", encoding="utf-8")
    for command in ("tuning", "leaderboard", "report"):
        done = cli(command, "b.toml", code=None)
        assert done.returncode in (2, 3)
        assert len(done.stderr.splitlines()) == 1
    assert "3,333,333,336 trials are more than the limit" in cli("tuning", "b.toml", code=2).stderr


def test_the_app_and_a_report_show_what_is_on_disk(strange: CommandLine, registry: Registry) -> None:
    loaded = read_loaded(results(strange, "bad"), registry)
    (reason,) = loaded.view.problems
    assert "20,000,000 trials are more than the limit" in reason
    assert len(loaded.view.seen.trials) == 2
    pytest.importorskip("vl_convert")
    strange("report", "bad.toml", "--out", "bad.html")
    page = (strange.folder / "bad.html").read_text(encoding="utf-8")
    assert "20,000,000 trials are more than the limit" in page
    assert "adam" in page


def test_json_of_a_refusal_is_not_begun(cli: CommandLine) -> None:
    (cli.folder / "b.toml").write_text(changed(("seeds = 2", "seeds = 10_000_000")), encoding="utf-8")
    assert cli("run", "b.toml", "--json", code=2).stdout == ""
    assert isinstance(TooMuch("x"), UserError)
    assert json.dumps(str(TooMuch("x"))) == '"x"'

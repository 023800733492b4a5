"""Plugin files with modules beside them: which module an import finds, and which files the plugin's digest covers."""

from __future__ import annotations

import hashlib
import pickle
import sys
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest

from support import CommandLine
from thalweg.registry import Registry, load_registry

PLUGIN = """
import torch
import thalweg
{imports}


class Sib(torch.optim.Optimizer):
    def __init__(self, params, lr={lr}):
        super().__init__(params, dict(lr=lr))

    @torch.no_grad()
    def step(self, closure=None):
        {within}
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.grad)


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Sib, name="{name}")
"""


def write(folder: Path, imports: str = "", lr: str = "0.1", within: str = "pass", name: str = "sib") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(PLUGIN.format(imports=imports, lr=lr, within=within, name=name), encoding="utf-8")
    return path


def loaded(*paths: Path) -> Registry:
    registry = load_registry(paths)
    assert [record.error for record in registry.plugins if record.error] == []
    return registry


def digest(path: Path) -> str:
    found = loaded(path).plugins[-1].digest
    assert found is not None
    return found


def default(registry: Registry, name: str) -> float:
    (lr,) = [option.default for option in registry.optimizer(name).options if option.name == "lr"]
    return float(lr)


@pytest.mark.parametrize(
    ("imports", "lr"),
    [
        ("from rules import RATE", "RATE"),
        ("from .rules import RATE", "RATE"),
        ("import rules", "rules.RATE"),
        ("import more.deep", "more.deep.RATE"),
        ("import more.deep as here", "here.RATE"),
        ("from more import deep", "deep.RATE"),
        ("from more.deep import RATE", "RATE"),
        ("from more import *", "deep.RATE"),
        ("from bare import rules as here", "here.RATE"),
    ],
)
def test_what_lies_beside_a_plugin_file_is_found_and_an_edit_of_it_is_a_new_digest(
    tmp_path: Path, imports: str, lr: str
) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "bare").mkdir()
    sources = [tmp_path / "rules.py", tmp_path / "more" / "deep.py", tmp_path / "bare" / "rules.py"]
    for source in sources:
        source.write_text("RATE = 0.25\n", encoding="utf-8")
    (tmp_path / "more" / "__init__.py").write_text("from . import deep\n__all__ = ['deep']\n", encoding="utf-8")
    path = write(tmp_path, imports, lr)
    assert default(loaded(path), "sib") == 0.25
    before = digest(path)
    assert digest(path) == before
    for source in sources:
        source.write_text("RATE = 0.5\n", encoding="utf-8")
    assert default(loaded(path), "sib") == 0.5
    assert digest(path) != before
    assert str(tmp_path) not in sys.path


def test_the_digest_covers_what_is_imported_by_helpers_and_within_functions_and_nothing_else(tmp_path: Path) -> None:
    names = ["first", "second", "late", "never", "other"]
    for name in names:
        (tmp_path / f"{name}.py").write_text("A = 1\n", encoding="utf-8")
    (tmp_path / "first.py").write_text("import second\n\ndef f():\n    import never\n", encoding="utf-8")
    path = write(tmp_path, "import first", within="import late")
    before = digest(path)
    changed = {}
    for name in names:
        source = tmp_path / f"{name}.py"
        text = source.read_text(encoding="utf-8")
        source.write_text(text + "# changed\n", encoding="utf-8")
        changed[name] = digest(path) != before
        source.write_text(text, encoding="utf-8")
    assert changed == {"first": True, "second": True, "late": True, "never": True, "other": False}


def test_a_helper_that_only_loading_finds_is_in_the_digest(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text("RATE = 0.5\n", encoding="utf-8")
    path = write(tmp_path, "RATE = getattr(__import__('ru' + 'les'), 'RATE')", "RATE")
    before = digest(path)
    (tmp_path / "rules.py").write_text("RATE = 0.25\n", encoding="utf-8")
    assert digest(path) != before


def test_a_file_without_helpers_has_the_digest_that_it_always_had(tmp_path: Path) -> None:
    path = write(tmp_path, "import json, numpy\nfrom thalweg_plugins.problems import digits")
    expected = hashlib.sha256(b"sib.py\0" + path.read_bytes() + b"\0").hexdigest()[:12]
    assert digest(path) == expected


def test_sources_on_the_path_that_are_not_installed_are_in_the_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    source = tmp_path / "elsewhere" / "rules_on_the_path.py"
    source.write_text("A = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    path = write(tmp_path / "plugin", "import rules_on_the_path")
    before = digest(path)
    source.write_text("A = 2\n", encoding="utf-8")
    assert digest(path) != before
    # but not the modules of an installation, whose packages have versions
    (tmp_path / "elsewhere" / "some-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert digest(path) == hashlib.sha256(b"sib.py\0" + path.read_bytes() + b"\0").hexdigest()[:12]


def test_an_editable_install_that_a_finder_of_its_own_finds_is_hashed_and_not_shadowed_by_a_bare_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "editable_rules" / "src").mkdir(parents=True)
    source = tmp_path / "editable_rules" / "src" / "editable_rules.py"
    source.write_text("RATE = 0.5\n", encoding="utf-8")

    class Finder:
        """A finder of modules, as setuptools installs for editable packages."""

        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> object:
            return spec_from_file_location(name, source) if name == "editable_rules" else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    path = write(tmp_path, "from editable_rules import RATE", "RATE")
    try:
        assert default(loaded(path), "sib") == 0.5
        before = digest(path)
        source.write_text("RATE = 0.25\n", encoding="utf-8")
        assert digest(path) != before
    finally:
        sys.modules.pop("editable_rules", None)


@pytest.mark.parametrize("name", ["json", "numpy", "thalweg"])
def test_a_neighbour_does_not_shadow_the_standard_library_nor_what_is_installed(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong module')\n", encoding="utf-8")
    path = write(tmp_path, f"import {name} as it\nassert 'site' or it")
    before = digest(path)
    (tmp_path / f"{name}.py").write_text("\n", encoding="utf-8")
    assert digest(path) == before


def test_equally_named_helpers_are_each_plugins_own_also_those_imported_late(tmp_path: Path) -> None:
    paths = []
    for name, rate in (("one", 0.25), ("two", 0.5)):
        late = "def late():\n    import later\n    return later.RATE"
        paths.append(write(tmp_path / name, f"from rules import RATE\n\n{late}", "RATE", name=name))
        (tmp_path / name / "rules.py").write_text(f"RATE = {rate}\n", encoding="utf-8")
        (tmp_path / name / "later.py").write_text("from rules import RATE\n", encoding="utf-8")
    registry = loaded(*paths)
    assert (default(registry, "one"), default(registry, "two")) == (0.25, 0.5)
    modules = [registry.manager.get_plugin(name) for name in ("one", "two")]
    assert [module.late() for module in modules] == [0.25, 0.5]
    assert "rules" not in sys.modules


def test_a_class_of_a_helper_can_be_pickled(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text("class Rule:\n    rate = 0.5\n", encoding="utf-8")
    registry = loaded(write(tmp_path, "from rules import Rule"))
    rule = registry.manager.get_plugin("sib").Rule
    assert pickle.loads(pickle.dumps(rule())).rate == 0.5


def test_what_is_wrong_in_a_helper_is_kept_as_the_plugins_failure(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text("def f(:\n", encoding="utf-8")
    (record,) = [one for one in load_registry([write(tmp_path, "import rules")]).plugins if one.origin == "file"]
    assert record.error is not None
    assert "(rules.py, line 1)" in record.error


BENCHMARK = """
seeds = 1

[workloads.bowl]
problem = { name = "quadratic", dim = 4 }
architecture = "point"
budget = { steps = 3 }

[optimizers.sib]
"""


@pytest.mark.parametrize("words", [(), ("-j", "2"), ("--executor", "dask")])
def test_editing_a_helper_trains_anew_under_every_executor(
    process_cli: CommandLine, tmp_path: Path, words: tuple[str, ...]
) -> None:
    if "dask" in words:
        pytest.importorskip("distributed")
    cli = process_cli
    (cli.folder / "bowl.toml").write_text(BENCHMARK, encoding="utf-8")
    # `more.deep` is imported by the step alone, in the worker
    path = write(cli.folder / "there", "from rules import RATE", "RATE", within="import more.deep")
    (path.parent / "more").mkdir()
    (path.parent / "more" / "deep.py").write_text("", encoding="utf-8")
    (path.parent / "rules.py").write_text("RATE = 0.1\n", encoding="utf-8")
    ask = ("run", "bowl.toml", "--plugin", "there/sib.py", *words)
    assert cli.json(*ask)["trials"]["trained"] == 1
    if not words:  # every executor has the same hashes
        assert cli.json(*ask)["trials"]["cached"] == 1
    (path.parent / "rules.py").write_text("RATE = 0.2\n", encoding="utf-8")
    assert cli.json(*ask)["trials"]["trained"] == 1

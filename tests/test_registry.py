"""Plugins as users write them: files, and packages that pip has installed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import CommandLine
from thalweg.errors import UserError
from thalweg.registry import DEFAULT_PLUGINS, PluginRecord, load_registry

GOOD = """
import torch
import thalweg


class SignSGD(torch.optim.Optimizer):
    def __init__(self, params, lr=0.001):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.grad.sign())


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(SignSGD)
"""

OPTIMIZER = """
import thalweg


class Mine(thalweg.Optimizer):
    name, summary = "{name}", "mine"

    def build(self, module, hyperparameters, context):
        raise NotImplementedError


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register({what})
"""

BARE = """
import torch
import thalweg


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(torch.optim.Adam)
"""


def load(tmp_path: Path, *sources: str) -> list[PluginRecord]:
    files = []
    for number, source in enumerate(sources):
        files.append(tmp_path / f"plugin{number}.py")
        files[-1].write_text(source, encoding="utf-8")
    registry = load_registry(files)
    return [record for record in registry.plugins if record.origin == "file"]


def test_the_built_ins_load_without_torch() -> None:
    code = """
import sys
from thalweg.registry import load_registry
registry = load_registry()
assert not [record.error for record in registry.plugins if record.error]
assert len(registry.entries("optimizers")) >= 7
assert "torch" not in sys.modules and "sklearn" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_plugin_file_registers_a_bare_torch_class(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(GOOD, encoding="utf-8")
    registry = load_registry([tmp_path / "good.py"])
    entry = registry.entry("optimizers", "signsgd")
    assert (entry.plugin.name, entry.plugin.origin) == ("good", "file")
    assert [option.name for option in entry.component.options] == ["lr"]
    assert entry.plugin.digest


def test_the_digest_of_a_file_changes_with_its_source(tmp_path: Path) -> None:
    first = load(tmp_path, GOOD)[0].digest
    assert load(tmp_path, GOOD)[0].digest == first
    assert load(tmp_path, GOOD + "\n# changed")[0].digest != first


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise RuntimeError('no licence\\nfound')", "RuntimeError: no licence found"),
        ("import no_such_package_anywhere", "ModuleNotFoundError: No module named 'no_such_package_anywhere'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def f(:", r"SyntaxError: .*\(plugin0.py, line 1\)"),
        (
            "import thalweg\n@thalweg.hookimpl\ndef thalweg_register_optimisers(register): pass",
            "no hook 'thalweg_register_optimisers'; did you mean 'thalweg_register_optimizers'",
        ),
        (
            "import thalweg\n@thalweg.hookimpl\ndef register_optimizers(register): pass",
            "unknown hook 'register_optimizers'",
        ),
        (
            "import thalweg\ndef thalweg_register_optimizers(register): pass",
            r"thalweg_register_optimizers \(line 2\) lacks the marker @thalweg.hookimpl",
        ),
        (
            "import thalweg\n@thalweg.hookimpl\ndef thalweg_register_optimizers(registry): pass",
            r"hook 'thalweg_register_optimizers' .*Argument\(s\) {'registry'} .* can not be found in the hookspec",
        ),
        (OPTIMIZER.format(name="adam", what="Mine"), "optimizer 'adam' is already registered by plugin 'thalweg_plug"),
        (
            OPTIMIZER.format(name="mine", what="Mine); register(Mine"),
            "'mine' is already registered by plugin 'plugin0'",
        ),
        (BARE, r"'adam' is already registered by plugin '[a-z_.]*': register\(Adam, name='...'\) gives it another"),
        (OPTIMIZER.format(name="Mine!", what="Mine"), "name 'Mine!' is not lower-case words"),
        (OPTIMIZER.format(name="mine", what="42"), "42 is no optimizer: subclass thalweg.Optimizer"),
        (OPTIMIZER.format(name="mine", what="thalweg.Optimizer"), "optimizer Optimizer does not implement build"),
        (OPTIMIZER.format(name="mine", what="Mine, lr=0.1"), "settings only with a torch.optim.Optimizer class"),
    ],
)
def test_a_broken_plugin_is_kept_as_a_failure_with_its_cause(tmp_path: Path, source: str, says: str) -> None:
    broken, good = load(tmp_path, source, GOOD)
    assert broken.error is not None
    assert re.search(says, broken.error), broken.error
    assert "\n" not in broken.error
    assert broken.traceback
    assert broken.registered == {}
    # and the next plugin loads normally
    assert good.error is None
    assert good.registered == {"optimizers": ["signsgd"]}


def test_a_plugin_can_say_what_it_would_need_for_more(cli: CommandLine) -> None:
    text = GOOD + '    register.note("lion-pytorch is not installed")\n'
    (cli.folder / "good.py").write_text(text, encoding="utf-8")
    (record,) = [one for one in cli.json("plugins", "--plugin", "good.py")["plugins"] if one["name"] == "good"]
    assert record["registered"] == {"optimizers": ["signsgd"]}
    assert record["error"] is None
    assert record["notes"] == ["lion-pytorch is not installed"]
    assert "lion-pytorch is not installed" in cli("plugins", "--plugin", "good.py").stdout


def test_a_plugin_can_say_why_a_name_is_not_there(cli: CommandLine) -> None:
    text = GOOD + '    register.absent("lion-pytorch-lion", "lion-pytorch is not installed")\n'
    (cli.folder / "good.py").write_text(text, encoding="utf-8")
    says = "optimizer 'lion-pytorch-lion' of plugin 'good' is not here: lion-pytorch is not installed"
    words = ["run", "quick", "--plugin", "good.py", "--with", "optimizer=lion-pytorch-lion"]
    assert says in cli(*words, code=2).stderr
    assert says in cli("show", "lion-pytorch-lion", "--plugin", "good.py", code=2).stderr


def test_a_plugin_registers_everything_or_nothing(tmp_path: Path) -> None:
    source = GOOD + "    register(42)\n"
    (tmp_path / "half.py").write_text(source, encoding="utf-8")
    registry = load_registry([tmp_path / "half.py"])
    assert "signsgd" not in [entry.name for entry in registry.entries("optimizers")]


def test_an_unknown_name_names_the_nearest_and_the_plugins_that_failed(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('oh')", encoding="utf-8")
    registry = load_registry([tmp_path / "broken.py"])
    with pytest.raises(UserError, match=r"bench: no optimizer 'adm'; did you mean 'adam'.*broken \(RuntimeError: oh\)"):
        registry.optimizer("adm", "bench")


def test_a_plugin_file_that_is_not_there_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        load_registry([tmp_path / "nowhere.py"])


def test_plugins_can_be_disabled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THALWEG_DISABLE_PLUGINS", "1")
    assert [record.name for record in load_registry().plugins] == list(DEFAULT_PLUGINS)
    with pytest.raises(UserError, match="THALWEG_DISABLE_PLUGINS is set"):
        load_registry([tmp_path / "x.py"])


def test_listings_are_sorted_by_name() -> None:
    names = [entry.name for entry in load_registry().entries("optimizers")]
    assert names == sorted(names)
    assert len(names) >= 7

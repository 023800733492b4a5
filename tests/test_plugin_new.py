"""``thalweg plugin new``: every kind installs, passes its own tests and the kit, is listed, and runs."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from support import CommandLine
from thalweg.commands.plugin_new import NewPlugin, kinds

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
KINDS = kinds()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of each kind, made by the command line."""
    folder = tmp_path_factory.mktemp("made")
    cli = CommandLine(folder, own_process=False)
    for kind in KINDS:
        cli("plugin", "new", f"my-{kind}", "--kind", kind)
    return folder


@pytest.fixture(scope="module")
def site(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the packages."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    packages = [str(made / f"my-{kind}") for kind in KINDS]
    subprocess.run([*command, "--target", str(target), *packages], check=True, capture_output=True, text=True)
    return target


def with_site(site: Path) -> str:
    return os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_there_is_a_kind_for_every_component_that_is_code() -> None:
    assert KINDS == ["architecture", "claim", "executor", "importer", "optimizer", "probe", "problem"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_package_is_small_and_tidy(kind: str, made: Path) -> None:
    folder = made / f"my-{kind}"
    module = (folder / f"my_{kind}.py").read_text(encoding="utf-8")
    assert len(module.splitlines()) < 80
    for path in folder.rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert "<<" not in text, path
            assert text.endswith("\n"), path
            assert not text.endswith("\n\n"), path
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"] == {"thalweg": {f"my-{kind}": f"my_{kind}"}}
    workflow = yaml.safe_load((folder / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    runs = [step["run"] for step in workflow["jobs"]["test"]["steps"] if "run" in step]
    assert runs[1:] == ["pytest", f"thalweg plugin check my-{kind}"]


def test_ruff_and_mypy_have_nothing_to_say(made: Path) -> None:
    """All packages at once, with what mypy has kept of thalweg: to read thalweg anew takes it a minute."""
    pytest.importorskip("mypy")
    folders = [f"{made}/my-{kind}" for kind in KINDS]
    rules = [f"--{key}={','.join(SETTINGS['ruff']['lint'][key])}" for key in ("select", "ignore")]
    files = [f"{made}/my-{kind}/{name}" for kind in KINDS for name in (f"my_{kind}.py", f"tests/test_my_{kind}.py")]
    commands = [
        (["ruff", "check", "--no-cache", *rules, *folders], made),
        (["ruff", "format", "--no-cache", "--check", *folders], made),
        ([sys.executable, "-m", "mypy", *files], ROOT),
    ]
    environment = os.environ | {"MYPYPATH": os.pathsep.join(folders)}
    for command, folder in commands:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_it_passes_its_own_tests_and_the_kit_and_is_listed_and_used(
    kind: str, made: Path, site: Path, tmp_path: Path
) -> None:
    name = f"my-{kind}"
    environment = os.environ | {"PYTHONPATH": with_site(site)}
    for word in [word for word in environment if word.startswith("PYTEST_")]:
        del environment[word]
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(made / name)]
    done = subprocess.run(tests, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout

    cli = CommandLine(made, own_process=True)
    cli.environment["PYTHONPATH"] = with_site(site)
    record = next(record for record in cli.json("plugins")["plugins"] if record["name"] == name)
    assert (record["registered"], record["error"]) == ({f"{kind}s": [name]}, None)
    assert name in [row["name"] for row in cli.json("list", f"{kind}s")[f"{kind}s"]]
    # here the folder my-KIND lies in the way, as for a user; the package's tests ran the whole kit
    assert cli.json("plugin", "check", name, "--only", "contract")["counts"]["passed"] == 1
    *_, check, use = NewPlugin(name, kind, Path(name)).next_commands()
    assert check == f"thalweg plugin check {name}"
    words = shlex.split(use)[1:]
    if kind == "importer":
        assert cli.json(*words)["rows"][0]["metrics"] == "valid.accuracy"
        return
    words += ["--results", str(tmp_path / "results")]
    if words[0] == "claims":
        assert "holds" in cli(*words, "-q").stdout
    else:
        # one workload and one seed of what the command trains
        document = cli.json(*words, "--seeds", "1", "-q")
        trials = document["trials"]
        assert trials["trained"] == trials["total"] > 0, document["failures"]


def test_the_json_document_names_files_and_commands(cli: CommandLine) -> None:
    document = cli.json("plugin", "new", "tiny-step", "--kind", "optimizer")
    assert document["folder"] == "tiny-step"
    assert {"tiny_step.py", "pyproject.toml", "README.md", "tests/test_tiny_step.py"} <= set(document["files"])
    assert all((cli.folder / "tiny-step" / path).is_file() for path in document["files"])
    assert document["next"][0] == "pip install -e 'tiny-step[test]'"
    assert "class TinyStep(" in (cli.folder / "tiny-step" / "tiny_step.py").read_text(encoding="utf-8")


def test_refusals_name_what_would_be_right(cli: CommandLine) -> None:
    (cli.folder / "there").mkdir()
    for words, says in (
        (["there", "--kind", "optimizer"], "there is there already: choose another name"),
        (["MyLion", "--kind", "optimizer"], "did you mean 'my-lion'?"),
        (["my_lion", "--kind", "optimizer"], "did you mean 'my-lion'?"),
        (["3d", "--kind", "probe"], "did you mean 'd'?"),
        (["--", "--kind", "probe"], ""),
        (["ü", "--kind", "probe"], "such as 'my-probe'"),
        (["a" * 61, "--kind", "probe"], "of at most 60 characters"),
        (["adam", "--kind", "optimizer"], "optimizer 'adam' is already registered by plugin 'thalweg_plugins"),
        (["a2", "--kind", "claim"], "claim 'a2' is already registered by plugin 'thalweg_plugins.claims'"),
        (["json", "--kind", "optimizer"], "which Python has already"),
        (["torch", "--kind", "optimizer"], "which Python has already"),
        (["lambda", "--kind", "optimizer"], "is a word of Python's own"),
        (["mine", "--kind", "optimiser"], "--kind: no kind 'optimiser'; did you mean 'optimizer'?"),
        (["mine", "--kind", "optimizer", "--into", "nowhere"], "--into nowhere: there is no such folder"),
    ):
        assert says in cli("plugin", "new", *words, code=2).stderr
    assert [path.name for path in cli.folder.iterdir()] == ["there"]


def test_a_folder_with_a_space_is_quoted_in_the_commands(cli: CommandLine) -> None:
    (cli.folder / "my work").mkdir()
    document = cli.json("plugin", "new", "mine", "--kind", "problem", "--into", "my work")
    assert document["next"][0] == "pip install -e 'my work/mine[test]'"
    assert shlex.split(document["next"][-1]) == ["thalweg", "run", "my work/mine/try.toml"]
    assert "thalweg run try.toml" in (cli.folder / "my work" / "mine" / "README.md").read_text(encoding="utf-8")

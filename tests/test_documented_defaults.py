"""A value that the documentation calls the default can be left out, and changes nothing."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from support import CommandLine
from thalweg.benchmark_file import TuningSpec
from thalweg.registry import Registry

DOCS = Path(__file__).parents[1] / "docs"


def first_block(page: str) -> str:
    found = re.search(r"```toml\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


def without_defaults(text: str) -> str:
    lines = text.splitlines()
    left = [line for line in lines if not re.search(r"#.*\bthe default\b", line)]
    assert len(left) < len(lines)
    return "\n".join(left)


def test_documented_defaults_of_a_benchmark_make_the_trials_that_leaving_them_out_makes(cli: CommandLine) -> None:
    text = first_block("benchmarks.md")
    # the comment of batch_size names its default beside another value
    shorter = without_defaults(text.replace('"full" (the default)', '"full"'))
    hashes = []
    for content in (text, shorter):
        (cli.folder / "mine.toml").write_text(content, encoding="utf-8")
        hashes.append([trial["hash"] for trial in cli.json("run", "mine.toml", "--dry-run")["trials"]])
    assert hashes[0] == hashes[1]


def test_documented_defaults_of_tuning_are_the_defaults() -> None:
    text = first_block("tuning.md")
    long, short = (tomllib.loads(each)["tuning"] for each in (text, without_defaults(text)))
    assert TuningSpec.model_validate(long) == TuningSpec.model_validate(short)
    assert re.search(r"Default: \[(\d+)\]", text)[1] == str(TuningSpec().budgets[0])  # type: ignore[index]


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_no_page_repeats_the_default_resolution_or_port(page: Path, registry: Registry) -> None:
    (resolution,) = (option.default for option in registry.probe("surface").options if option.name == "resolution")
    text = page.read_text(encoding="utf-8")
    assert f"resolution = {resolution}" not in text
    assert f"resolution={resolution}" not in text
    assert "8501" not in text

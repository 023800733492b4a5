"""`show` and the Plugins page tell one list of facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import CommandLine
from thalweg.present import components
from thalweg.registry import Registry


@pytest.mark.parametrize(("kind", "name"), [("optimizers", "adam"), ("problems", "digits"), ("probes", "surface")])
def test_every_fact_of_a_component_is_shown(registry: Registry, cli: CommandLine, kind: str, name: str) -> None:
    entry = registry.entry(kind, name)
    facts = components.facts(entry.component, components.described(kind, entry))
    told = " ".join(cli("show", name).stdout.split())
    for label, text in facts.items():
        assert label in told
        assert " ".join(text.split())[:60] in told


def test_a_fact_is_added_in_one_file(
    registry: Registry, cli: CommandLine, show: object, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = components.facts
    monkeypatch.setattr(components, "facts", lambda *given: {**facts(*given), "doi": "10.1000/182"})
    assert "10.1000/182" in cli("show", "adam").stdout
    page = show("plugins", results)  # type: ignore[operator]
    assert any("10.1000/182" in element.value for element in page.markdown)


def test_a_benchmark_is_described_by_its_file(registry: Registry) -> None:
    entry = registry.entry("benchmarks", "quick")
    document = components.described("benchmarks", entry)
    assert document["summary"] == components.summary(entry)
    assert document["text"].startswith("title") or "title" in document["text"]


def test_options_have_default_range_and_search(registry: Registry) -> None:
    entry = registry.entry("optimizers", "adam")
    frame = components.options(entry.component).frame().set_index("name")
    assert frame.loc["lr", "search"].endswith("(log)")
    assert frame.loc["beta1", "default"] == "0.9"
    assert frame.loc["beta1", "allowed"] == "[0, 1)"

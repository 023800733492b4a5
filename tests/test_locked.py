"""locked.txt: the versions of constraints.txt with digests, and nothing else."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
BUILT_APART = {"torch", "torchvision"}


def versions(lines: list[str]) -> dict[str, str]:
    found = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+]+)", line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if match is None]
    pairs = [(canonicalize_name(match[1]), match[2]) for match in found if match]
    assert len(dict(pairs)) == len(pairs), "a name stands there twice"
    return dict(pairs)


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return versions([line for line in lines if not line.startswith("#")])


def locked() -> dict[str, list[str]]:
    """Digests by requirement."""
    text = (ROOT / "locked.txt").read_text(encoding="utf-8")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if not line.startswith("#")]
    return {first: rest for first, *rest in map(str.split, lines)}


def test_the_versions_are_those_of_constraints() -> None:
    expected = {name: version for name, version in constraints().items() if name not in BUILT_APART}
    assert versions(list(locked())) == expected


def test_each_has_digests_and_nothing_else() -> None:
    for requirement, options in locked().items():
        assert options, requirement
        for option in options:
            assert re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", option), (requirement, option)


def test_what_the_project_asks_for_is_pinned_within_its_ranges() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = constraints()
    extras = project["optional-dependencies"]
    for text in [*project["dependencies"], *(each for extra in extras.values() for each in extra)]:
        asked = Requirement(text)
        assert asked.specifier.contains(pinned[canonicalize_name(asked.name)]), text

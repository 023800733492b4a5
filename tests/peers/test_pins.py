"""The pins of the peers and the versions that all tests run with."""

from __future__ import annotations

from pathlib import Path

from look_peers import PINS


def test_a_peer_that_constraints_name_has_the_same_version_there() -> None:
    lines = (Path(__file__).parents[2] / "constraints.txt").read_text(encoding="utf-8").splitlines()
    constraints = dict(line.split("==") for line in lines if "==" in line)
    shared = PINS.keys() & constraints.keys()
    assert "curvlinops-for-pytorch" in shared
    assert {name: PINS[name] for name in shared} == {name: constraints[name] for name in shared}

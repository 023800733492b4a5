"""Every hook is documented and tested, signature included."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from thalweg import hookspecs

HOOKS = [name for name in vars(hookspecs) if name.startswith("thalweg_")]
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_signature(hook: str) -> None:
    function = getattr(hookspecs, hook)
    assert function.__doc__
    arguments = ", ".join(inspect.signature(function).parameters)
    documentation = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert f"`{hook}({arguments})`" in documentation


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_used_in_a_test(hook: str) -> None:
    sources = [path.read_text(encoding="utf-8") for path in ROOT.joinpath("tests").rglob("*.py")]
    assert any(f"def {hook}(" in source for source in sources), f"no test implements {hook}"

"""The conformance kit: what every plugin, built in or not, must get right.

``thalweg plugin check NAME`` and ``pytest --thalweg-plugin NAME`` run it. In a plugin's own tests::

    import pytest
    from thalweg.registry import load_registry
    from thalweg.testing import checks

    @pytest.mark.parametrize("check", checks(load_registry(), plugin="mine"), ids=str)
    def test_conformance(check):
        check()
"""

from thalweg.testing.kit import Check, checks

__all__ = ["Check", "checks"]

"""The source of the problems' targets, as a text."""


def baseline(network: str) -> str:
    """The source of a target that the benchmark ``baselines`` fixed with ``network``."""
    return f"half of 20 seeds of momentum reach it within the budget with {network} (benchmark baselines)"

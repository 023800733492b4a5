"""Where the problems' targets come from."""


def baseline(network: str) -> str:
    """A target that the benchmark ``baselines`` fixed, with that network."""
    return f"half of 20 seeds of momentum reach it within the budget with {network} (benchmark baselines)"

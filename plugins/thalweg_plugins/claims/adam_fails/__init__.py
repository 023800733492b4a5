"""Section D: online problems on which Adam does not converge."""

from thalweg_plugins.claims.adam_fails.long_games import D2, D3
from thalweg_plugins.claims.adam_fails.periodic import D1

CLAIMS: tuple[type, ...] = (D1, D2, D3)

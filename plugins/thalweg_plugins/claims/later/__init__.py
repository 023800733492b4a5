"""Claims of section L: after the lecture."""

from thalweg_plugins.claims.later.tuned import MuonAgainstAdamW, ScheduleFree

CLAIMS = (MuonAgainstAdamW, ScheduleFree)

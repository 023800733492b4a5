"""Section L: statements from after the lecture."""

from thalweg_plugins.claims.later.batch_sizes import BatchSizes
from thalweg_plugins.claims.later.classes import AdamOnHeavyTails
from thalweg_plugins.claims.later.edge import EdgeOfStability
from thalweg_plugins.claims.later.eigenspace import TopEigenspace
from thalweg_plugins.claims.later.tuned import MuonAgainstAdamW, ScheduleFree

CLAIMS: tuple[type, ...] = (
    EdgeOfStability,
    TopEigenspace,
    AdamOnHeavyTails,
    MuonAgainstAdamW,
    ScheduleFree,
    BatchSizes,
)
